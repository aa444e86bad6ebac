"""What README.md and docs/measured-here.md quote of the demo is what `make demo` wrote to build/demo/summary.json."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from prolu.spec import SweepSpec, digest_of, parse, validate
from service.domain.expansion import expand

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/measured-here.md").read_text(encoding="utf-8")
CALLS: list[dict[str, Any]] = json.loads((ROOT / "docs/measured/demo.json").read_text(encoding="utf-8"))["calls"]


def rows(runs: list[dict[str, Any]]) -> list[str]:
    return [
        f"| {run['variant']} | {run['coefficient']:g} | {run['l0']:.0f} | {run['fvu']:.3f} | "
        f"{100 * run['dead_fraction']:.1f} % | {100 * run['fraction_negative']:.1f} % |"
        for run in runs
    ]


def figure(what: str) -> str:
    found = re.search(rf"^\| {re.escape(what)} \| ([^|]+) \|$", README, re.MULTILINE)
    assert found, what
    return found[1]


def test_the_table_of_the_demo_is_what_the_demo_printed():
    for row in rows(CALLS[-1]["runs"]):
        assert row in PAGE, row


def test_the_times_of_the_demo_are_those_it_took():
    first, again = CALLS
    assert (first["extracted"], again["extracted"]) == (True, False)
    assert figure("`make demo` from a fresh clone, installation and extraction included") == f"{first['seconds']} s"
    assert figure("`make demo` again") == f"{again['seconds']} s"
    assert figure("One of its runs, start of the worker included, two side by side (median)") == (
        f"{again['median_run_seconds']:g} s"
    )


def test_both_calls_trained_the_same_autoencoders():
    assert CALLS[0]["runs"] == CALLS[1]["runs"]


def test_the_demo_that_was_measured_is_the_one_that_is_shipped():
    points = expand(validate(parse((ROOT / "examples/demo.yaml").read_text(encoding="utf-8")), SweepSpec))
    digest = digest_of([point.digest for point in points])
    assert [call["sweep"] for call in CALLS] == [digest, digest]


@pytest.mark.parametrize(("page", "folder"), [(README, ROOT), (PAGE, ROOT / "docs")], ids=["README", "page"])
def test_every_picture_is_there_and_no_figure_is_left_open(page: str, folder: Path):
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert pictures
    assert all((folder / picture).stat().st_size > 10_000 for picture in pictures)
    assert "…" not in page
