"""schemathesis against the app: every operation of the document, with links and all checks, on a populated database.

    python -m tests.service.api.exploring --examples 200 --seed 7     (`make fuzz-api`)

New routes are taken in by themselves. What is not asked, and why:

* `object_level_authorization`, which wants that nobody sees what others made: everybody in a lab reads everything.
* A 412, 413 or 416 to a request that is right by its schema: whether a tag is the present one, a body is short enough, and a
  range is within a file, no schema says.
* A 422 to such a request, where a validator of ours says why: a cursor or an id of an event that this service never gave
  out, a key that came with another body, settings that are impossible together, files that are not there, 100.0 where a
  whole number belongs. A 422 by a rule that a schema can say (a type, a range, a pattern) is a finding.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import schemathesis
import structlog
from fastapi.exceptions import RequestValidationError
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import Status, events, from_schema

from tests.fixtures_api import Api, running_api
from tests.service.api.populated import populate

PHASES = ("examples", "coverage", "fuzzing", "stateful")
# What pydantic says where a validator of ours has refused.
_OURS = frozenset({"refusal", "value_error", "assertion_error"})


_ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "412", "413", "416", "429", "503"]
_REFUSED = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "503"]

_fresh = itertools.count()


@schemathesis.hook
def before_call(_: Any, case: Any, __: Any) -> None:
    """Give most requests a key of their own: with one key for all, all but the first would be repetitions."""
    key = next((name for name in case.headers or {} if name.lower() == "idempotency-key"), None)
    number = next(_fresh)
    if key is not None and case.meta and case.meta.generation.mode.is_positive and number % 8:
        case.headers[key] = f"key-{number}"


@dataclass(frozen=True)
class Finding:
    """Something that the service did and its document does not allow."""

    operation: str
    title: str
    told: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.title}\n{self.told}"


@dataclass
class Exploration:
    """What was tried, and what was found."""

    cases: int
    operations: set[str]
    findings: list[Finding]
    seconds: float


def explore(
    api: Api,
    *,
    examples: int,
    seed: int,
    phases: Sequence[str] = PHASES,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
) -> Exploration:
    """Try everything. `examples` per operation in fuzzing, and chains in stateful; coverage has as many as there are rules."""
    began = time.monotonic()
    by_schema = _remember_refusals_by_schema(api)
    found = Exploration(0, set(), [], 0.0)
    for event in from_schema(_schema(api, examples, seed, phases, only, without)).execute():
        if isinstance(event, events.NonFatalError):
            found.findings.append(Finding(str(event.label), "error of the harness", str(event.value)))
        elif isinstance(event, events.PhaseFinished) and event.status is Status.ERROR:
            found.findings.append(Finding(event.phase.name.value, "the phase broke off", ""))
        elif isinstance(event, events.ScenarioFinished):
            found.cases += len(event.recorder.cases)
            found.operations |= {node.value.operation.label for node in event.recorder.cases.values()}
            found.findings.extend(_failed(event, by_schema))
    found.seconds = time.monotonic() - began
    return found


def _schema(
    api: Api, examples: int, seed: int, phases: Sequence[str], only: Sequence[str], without: Sequence[str]
) -> Any:
    known = populate(api)
    config = SchemathesisConfig.from_dict(
        {
            "headers": {"Authorization": api.http.headers["Authorization"]},
            "seed": seed,
            "continue-on-failure": True,
            "generation": {"max-examples": examples, "database": "none", "no-shrink": True},
            "dictionaries": {name: {"values": values} for name, values in known.items()},
            "parameters": {f"path.{name}": {"dictionary": name, "probability": 0.8} for name in known},
            "phases": {name: {"enabled": name in phases} for name in PHASES},
            "checks": {
                "object_level_authorization": {"enabled": False},
                "positive_data_acceptance": {"expected-statuses": _ACCEPTED},
                "negative_data_rejection": {"expected-statuses": _REFUSED},
            },
        }
    )
    schema = schemathesis.openapi.from_asgi("/openapi.json", api.http.app, config=config)
    schema = schema.include(operation_id=list(only)) if only else schema
    return schema.exclude(operation_id=list(without)) if without else schema


def _remember_refusals_by_schema(api: Api) -> set[str]:
    """Have the app note the id of every request that was refused by a rule that its schema tells."""
    app: Any = api.http.app
    answer = app.exception_handlers[RequestValidationError]
    noted: set[str] = set()

    def note(request: Any, error: RequestValidationError) -> Any:
        if not all(_beyond_schemas(complaint) for complaint in error.errors()):
            noted.add(request.scope["prolu.request_id"])
        return answer(request, error)

    app.exception_handlers[RequestValidationError] = note
    app.middleware_stack = None  # it is built anew, with this handler
    return noted


def _beyond_schemas(complaint: Any) -> bool:
    """Whether a complaint is by a rule that no schema tells; a whole number is written without a decimal point here."""
    whole = complaint["type"] in ("int_type", "int_from_float") and isinstance(complaint["input"], float)
    return complaint["type"] in _OURS or (whole and complaint["input"].is_integer())


def _failed(event: events.ScenarioFinished, by_schema: set[str]) -> Iterator[Finding]:
    for case_id, checks in event.recorder.checks.items():
        for node in checks:
            if node.failure_info is None:
                continue
            failure, exchange = node.failure_info.failure, event.recorder.interactions.get(case_id)
            response = exchange.response if exchange else None
            if (
                failure.title == "Schema-valid request rejected"
                and response is not None
                and response.status_code == 422
            ):
                (request_id,) = response.headers["x-request-id"]
                if request_id not in by_schema:
                    continue
            yield Finding(str(failure.operation), failure.title, f"{failure.message}\n{_shown(exchange)}"[:1500])


def _shown(exchange: Any) -> str:
    if exchange is None:
        return ""
    asked, answer = exchange.request, exchange.response
    hidden = {"authorization", "user-agent", "accept-encoding", "connection", "x-schemathesis-testcaseid"}
    headers = {name: values for name, values in asked.headers.items() if name.lower() not in hidden}
    said = "no answer" if answer is None else f"{answer.status_code} {answer.content[:400]!r}"
    return f"  {asked.method} {asked.uri[:300]} {headers} {(asked.body or b'')[:500]!r}\n  -> {said}"


@contextmanager
def quiet() -> Iterator[None]:
    """Leave the log out: it has a line for every request."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(wrapper_class=before)


def main() -> int:
    """Explore for as long as it takes, and say what was found, each kind once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="per operation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--phases", nargs="+", default=PHASES, choices=PHASES)
    parser.add_argument("--only", nargs="+", default=(), metavar="OPERATION_ID")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_api(Path(folder), hub="offline", stream_seconds=0.05) as api,
        quiet(),
    ):
        tried = explore(api, examples=options.examples, seed=options.seed, phases=options.phases, only=options.only)
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in tried.findings:
        kinds.setdefault((finding.operation, finding.title), []).append(finding)
    for found in kinds.values():
        sys.stdout.write(f"{len(found)} x {found[0]}\n\n")
    sys.stdout.write(
        f"{tried.cases} requests to {len(tried.operations)} operations in {tried.seconds:.0f} s with seed {options.seed}: "
        f"{len(kinds)} kinds of findings.\n"
    )
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
