"""What is asked of the service over HTTP, and how long each answer takes; how much memory the service takes for a file."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.queue.http import Answer, ask_all, request_bytes
from benchmarks.queue.service import Service

_MIB = 1024


@dataclass(frozen=True)
class Query:
    """A filter over two metrics and an order; the share of all runs that it finds is told by what it is called."""

    filter: str
    order_by: str


# From a handful of runs to nearly all that have metrics, sorted by one of the two, by a third, by two, and by none.
QUERIES = {
    "0.1 %": Query("metrics.l0 < 4 AND metrics.fvu < 0.56", "metrics.fvu"),
    "1 %": Query("metrics.l0 < 10 AND metrics.fvu < 0.47", "metrics.ce_loss_score desc"),
    "10 %": Query("metrics.l0 < 50 AND metrics.fvu < 0.32", "metrics.fvu, metrics.l0 desc"),
    "a third": Query("metrics.l0 >= 20 AND metrics.fvu < 0.22", "metrics.kl"),
    "nearly all": Query("metrics.l0 < 1e6 AND metrics.fvu < 2", "metrics.fvu"),
    "nearly all, backwards": Query("metrics.l0 < 1e6 AND metrics.fvu < 2", "metrics.dead_fraction desc"),
    "with the spec": Query(
        'spec.sae.kind = "prolu" AND metrics.l0 < 100 AND metrics.fvu < 0.5', "metrics.ce_loss_score desc"
    ),
}


def query_milliseconds(service: Service, query: Query, *, times: int) -> list[float]:
    """The first page of 100 rows with all columns that are shown by default, so many times."""
    body = {"filter": query.filter, "order_by": query.order_by, "limit": 100}
    return _milliseconds(_repeated(service, "/v1/results:query", body, times))


def frontier_milliseconds(service: Service, body: dict[str, Any], *, times: int) -> tuple[list[float], Answer]:
    """A frontier, so many times, and the last answer."""
    answers = _repeated(service, "/v1/results:frontier", body, times)
    return _milliseconds(answers), answers[-1]


@dataclass(frozen=True)
class Export:
    """A Parquet file of so many rows."""

    rows: int
    seconds: float
    mebibytes: float
    """Length of the file."""
    peak_mb: float
    """How much more memory the service held at most than just before it was asked."""


def export(service: Service, rows: int) -> Export:
    """Have the newest `rows` runs written, with the columns of the default, and take the file."""
    with _peak_of(service.pid) as grown:
        (answer,) = _repeated(service, "/v1/results:query?format=parquet", {"limit": rows}, 1)
    return Export(rows, answer.seconds, len(answer.body) / _MIB**2, grown[0] / _MIB)


def p95(values: Sequence[float]) -> float:
    """The 95th percentile, interpolated."""
    return statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def _repeated(service: Service, path: str, body: Any, times: int) -> list[Answer]:
    request = request_bytes(service, "POST", path, body)
    return ask_all(service, [request] * times, connections=1, status=200)


def _milliseconds(answers: Sequence[Answer]) -> list[float]:
    return [1000 * answer.seconds for answer in answers]


@contextmanager
def _peak_of(pid: int) -> Iterator[list[int]]:
    """How many KiB the resident memory of a process rose at most within the block, above where it was (Linux)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is counted from now on
    before, grown = _status(pid, "VmRSS"), [0]
    yield grown
    grown[0] = max(0, _status(pid, "VmHWM") - before)


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
