"""Nothing that looks like a secret reaches the log, whatever field it stands in."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from uuid import UUID

import pytest
import structlog

from service import logs
from tests.fixtures_api import Api

TOKEN = "prolu_" + "Ab1-_" * 8 + "xyz"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged, as JSON lines."""
    sink = io.StringIO()
    monkeypatch.setattr("sys.stderr", sink)
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    logs.configure(level="info", style="json")
    yield sink
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_tokens_and_passwords_are_masked_in_every_field(written: io.StringIO) -> None:
    log = structlog.get_logger("test")
    log.info(f"got {TOKEN}", header=f"Bearer {TOKEN}", url="postgresql://lab:hunter2@db/prolu", hub="hf_" + "x" * 30)
    assert TOKEN not in written.getvalue()
    assert "hunter2" not in written.getvalue()
    assert "hf_x" not in written.getvalue()
    assert json.loads(written.getvalue())["url"] == "postgresql://…@db/prolu"


def test_tokens_are_masked_in_tracebacks_and_in_other_libraries_lines(written: io.StringIO) -> None:
    try:
        raise ValueError(f"bad {TOKEN}")
    except ValueError:
        structlog.get_logger("test").exception("failed")
    logging.getLogger("uvicorn.error").warning("saw %s", TOKEN)
    first, second = (json.loads(line) for line in written.getvalue().splitlines())
    assert "ValueError" in first["exception"]
    assert second["event"] == "saw …"
    assert TOKEN not in written.getvalue()


def test_the_level_holds(written: io.StringIO) -> None:
    structlog.get_logger("test").debug("quiet")
    structlog.get_logger("test").info("loud")
    assert [json.loads(line)["event"] for line in written.getvalue().splitlines()] == ["loud"]


@pytest.mark.parametrize("style", ["json", "text"])
def test_lines_about_an_attempt_carry_its_run_and_epoch_whoever_logs_them(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    structlog.reset_defaults()
    monkeypatch.setattr("sys.stderr", written)
    logs.configure(level="info", style=style)
    with logs.about(UUID(int=7), 3):
        structlog.get_logger("ours").info("one")
        logging.getLogger("a.library").warning("two")
    structlog.get_logger("ours").info("three")
    first, second, third = written.getvalue().splitlines()
    for line in (first, second):
        if style == "json":
            told = json.loads(line)
            assert (told["run_id"], told["epoch"]) == ("00000000-0000-0000-0000-000000000007", 3)
        else:
            assert "run_id=00000000-0000-0000-0000-000000000007" in line
            assert "epoch=3" in line
    assert "epoch" not in third


def test_lines_within_a_request_carry_its_id(written: io.StringIO, quick_api: Api) -> None:
    quick_api.http.get("/v1/version", headers={"X-Request-Id": "mine-7"})
    told = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["request_id"] for line in told if line["event"] == "request"] == ["mine-7"]
