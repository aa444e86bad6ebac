"""How fast runs enter the queue through HTTP: one by one, and as one sweep.

A submission is one request, one look at its token, and one durable transaction that inserts the run and its event.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from benchmarks.queue.http import ask, ask_all, request_bytes
from benchmarks.queue.service import Service
from benchmarks.queue.work import run_document, sweep_document

CONNECTIONS = 8


def submissions_per_s(service: Service, *, count: int, connections: int = CONNECTIONS) -> float:
    """Submit `count` runs, each with a request of its own and an Idempotency-Key, as the client sends one."""
    numbers = range(count)
    requests: Iterable[bytes] = [
        request_bytes(service, "POST", "/v1/runs", run_document(number), key=f"bench-{time.time_ns()}-{number}")
        for number in numbers
    ]
    began = time.perf_counter()
    ask_all(service, requests, connections=connections, status=201)
    return count / (time.perf_counter() - began)


def sweep_seconds(service: Service, *, count: int) -> float:
    """Submit one sweep of `count` runs: from the request to its answer."""
    return ask(service, "POST", "/v1/sweeps", sweep_document(count), status=201).seconds
