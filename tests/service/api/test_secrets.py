"""A token that stands where it does not belong is neither logged nor repeated: in paths, queries, headers and bodies.

Of tracebacks `tests.service.test_logs` tells the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.service.api.serving import wait_until
from tests.service.api.work import RUN
from tests.service.store.specs import DOCUMENT
from tests.service.test_main import environment, serving

SECRET = "Zz9-_" * 8 + "abc"
TOKEN = f"prolu_{SECRET}"
ENCODED = "".join(f"%{byte:02x}" for byte in TOKEN.encode())


@dataclass(frozen=True)
class Logged:
    """A service process, and what it has logged."""

    http: httpx.Client
    log: Path

    def told_of(self, answer: httpx.Response) -> str:
        """All that is logged, once the line of this request is, which comes after its answer."""
        wait_until(lambda: answer.headers["x-request-id"] in self.log.read_text())
        return self.log.read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    folder = tmp_path_factory.mktemp("logged")
    with serving(folder, environment(folder, PROLU_HUB="offline", PROLU_LOG_FORMAT="json")) as (url, _):
        headers = {"Authorization": f"Bearer {(folder / 'token').read_text().strip()}"}
        with httpx.Client(base_url=url, headers=headers, timeout=20) as http:
            yield Logged(http, folder / "log")


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/runs/{TOKEN}",
        f"/v1/{TOKEN}",
        f"/v1/runs/{ENCODED}",
        f"/v1/runs?owner={TOKEN}",
        f"/v1/runs?cursor={ENCODED}",
        f"/v1/runs?token={TOKEN}",
        f"/v1/runs?{TOKEN}=1",
        f"/v1/events?run_id={TOKEN}",
    ],
)
def test_a_token_in_an_address_is_neither_logged_nor_repeated(service: Logged, path: str) -> None:
    answer = service.http.get(path)
    assert SECRET not in service.told_of(answer)
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "name", ["Authorization", "Last-Event-ID", "Idempotency-Key", "If-Match", "Content-Type", "Cookie"]
)
def test_a_token_in_a_header_is_neither_logged_nor_repeated(service: Logged, name: str) -> None:
    for method, path in (("POST", "/v1/runs"), ("GET", "/v1/runs/7/logs"), ("PATCH", "/v1/sweeps/7")):
        answer = service.http.request(method, path, content=b"{}", headers={name: TOKEN})
        assert SECRET not in answer.text
    assert SECRET not in service.told_of(answer)


@pytest.mark.parametrize(
    "body",
    [
        {"spec": {**RUN["spec"], "name": TOKEN, "sae": {"kind": TOKEN}}},
        {"spec": {**DOCUMENT, TOKEN: 1}},
        {"spec": TOKEN},
        {"spec": RUN["spec"], "tier": TOKEN},
        [TOKEN],
        TOKEN,
    ],
    ids=["value", "key", "whole", "choice", "list", "text"],
)
def test_a_token_in_a_body_is_neither_logged_nor_repeated(service: Logged, body: object) -> None:
    answer = service.http.post("/v1/runs", json=body)
    assert answer.status_code == 422
    assert SECRET not in service.told_of(answer)
    assert SECRET not in answer.text
