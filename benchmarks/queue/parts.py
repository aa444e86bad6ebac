"""The parts of the benchmark. Each returns the figures that goals are set for, and everything that it measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.queue import claiming, dispatching, lifecycle, listing, planning, submitting
from benchmarks.queue.databases import KINDS, Databases
from benchmarks.queue.procrastinating import Peer
from benchmarks.queue.service import service_on
from service.garbage import collect_rarely

Found = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class Sizes:
    """How much of everything. Names of figures say 10,000 and so on; they mean it only with the full sizes."""

    rounds: int
    jobs: int
    submissions: int
    sweep: int
    waiting: int
    listed: int
    pages: int
    cancelled: int
    starts: int
    marks: tuple[int, ...]
    peers: tuple[tuple[int, int], ...]
    """Workers and concurrency to try for the peer; the quickest is taken."""


FULL = Sizes(
    rounds=7,
    jobs=2000,
    submissions=2000,
    sweep=10_000,
    waiting=10_000,
    listed=100_000,
    pages=300,
    cancelled=1000,
    starts=40,
    marks=(1000, 5000, 10_000),
    peers=((1, 10), (1, 40), (2, 10), (4, 10)),
)
SMALL = Sizes(
    rounds=1,
    jobs=100,
    submissions=20,
    sweep=100,
    waiting=100,
    listed=300,
    pages=8,
    cancelled=100,
    starts=2,
    marks=(100, 200),
    peers=((1, 4), (2, 4)),
)


def claim_finish(both: Databases, sizes: Sizes) -> Found:
    """Rounds of ours and the peer's by turns, so that both meet the same moods of the machine; the median of their ratios."""
    peers = [Peer(_plain(both.empty("postgresql")), *tried) for tried in sizes.peers]
    tried = {}
    for peer in peers:
        peer.prepare()
        tried[peer] = _peers_rate(peer, sizes.jobs)
    best = max(peers, key=lambda peer: tried[peer])
    rounds = []
    with both.migrated("postgresql") as database:
        claiming.fill(database, sizes.jobs)
        claiming.work_off(database)
        for _ in range(sizes.rounds):
            claiming.fill(database, sizes.jobs)
            ours = sizes.jobs / claiming.work_off(database)
            theirs = _peers_rate(best, sizes.jobs)
            rounds.append({"ours_per_s": ours, "procrastinate_per_s": theirs, "ratio": ours / theirs})
        claiming.fill(database, sizes.jobs // 10)
        alone = sizes.jobs // 10 / claiming.work_off(database, batch=1)
    with both.migrated("sqlite") as database:
        claiming.fill(database, sizes.jobs)
        on_sqlite = sizes.jobs / claiming.work_off(database)
    return {"claim_finish_vs_procrastinate": statistics.median(one["ratio"] for one in rounds)}, {
        "rounds": rounds,
        "batch": claiming.BATCH,
        "ours_one_by_one_per_s": alone,
        "ours_on_sqlite_per_s": on_sqlite,
        "procrastinate": {"workers": best.workers, "concurrency": best.concurrency},
        "procrastinate_tried_per_s": [
            {"workers": peer.workers, "concurrency": peer.concurrency, "per_s": rate} for peer, rate in tried.items()
        ],
    }


def full_lifecycle(both: Databases, sizes: Sizes) -> Found:
    """The same by turns for the whole life of a run."""
    rounds = []
    peer = Peer(_plain(both.empty("postgresql")), *sizes.peers[0])
    peer.prepare()
    with both.migrated("postgresql") as database, service_on(database) as service:
        submitting.submissions_per_s(service, count=sizes.submissions // 10)
        done = 0
        for _ in range(min(3, sizes.rounds)):
            ours = lifecycle.ours_per_s(database, service, count=sizes.jobs // 2)
            done += sizes.jobs // 2
            theirs = lifecycle.peers_per_s(peer, count=sizes.jobs // 2, in_all=done)
            rounds.append({"ours_per_s": ours, "procrastinate_per_s": theirs, "ratio": ours / theirs})
    return {"lifecycle_per_s": statistics.median(one["ours_per_s"] for one in rounds)}, {"rounds": rounds}


def submissions(both: Databases, sizes: Sizes) -> Found:
    """One by one, the best of the rounds, since what a machine does besides can only slow them; and as one sweep."""
    rates: dict[str, list[float]] = {}
    sweeps: dict[str, float] = {}
    for kind in KINDS:
        with both.migrated(kind) as database, service_on(database) as service:
            submitting.submissions_per_s(service, count=sizes.submissions // 10)
            rates[kind] = [
                submitting.submissions_per_s(service, count=sizes.submissions) for _ in range(min(5, sizes.rounds))
            ]
            sweeps[kind] = submitting.sweep_seconds(service, count=sizes.sweep)
    best = {kind: max(found) for kind, found in rates.items()}
    more = {"rounds_per_s": rates, "connections": submitting.CONNECTIONS, "sweep_s": sweeps}
    return {"submissions_per_s": best, "sweep_10000_s": sweeps}, more


def plan(both: Databases, sizes: Sizes) -> Found:
    """The pure plan of long queues, of which the slowest kind counts, and what it takes to read one and plan it."""
    collect_rarely()
    mixes = planning.plans(count=sizes.waiting, times=min(7, sizes.rounds))
    turns = {}
    for kind in KINDS:
        with both.migrated(kind) as database:
            claiming.fill(database, sizes.waiting)
            turns[kind] = planning.turns(database, times=min(5, sizes.rounds))
    return {"plan_10000_ms": max(mix["plan_ms"] for mix in mixes.values())}, {"mixes": mixes, "turns": turns}


def lists(both: Databases, sizes: Sizes) -> Found:
    """Pages of a long list."""
    slowest: dict[str, float] = {}
    more: dict[str, Any] = {}
    for kind in KINDS:
        with both.migrated(kind) as database, service_on(database) as service:
            listing.fill_with(database, sizes.listed)
            listing.page_seconds(service, pages=8)
            took = _milliseconds(listing.page_seconds(service, pages=sizes.pages))
            slowest[kind] = _p95(took)
            more[kind] = {"median_ms": statistics.median(took), "max_ms": max(took)}
    return {"list_p95_ms": slowest}, {"runs": sizes.listed, "pages": sizes.pages, **more}


def cancel(both: Databases, sizes: Sizes) -> Found:
    """A sweep of which two runs train."""
    took = {}
    for kind in KINDS:
        with both.migrated(kind) as database, service_on(database) as service:
            took[kind] = [
                dispatching.cancel_seconds(database, service, count=sizes.cancelled)
                for _ in range(min(3, sizes.rounds))
            ]
    return {"cancel_1000_s": {kind: statistics.median(found) for kind, found in took.items()}}, {"rounds_s": took}


def start(both: Databases, sizes: Sizes) -> Found:
    """Submissions into an idle queue; the first one, which finds both processes cold, does not count."""
    slowest: dict[str, float] = {}
    more: dict[str, Any] = {}
    for kind in KINDS:
        with both.migrated(kind) as database, service_on(database) as service:
            took = _milliseconds(dispatching.submit_to_start_seconds(database, service, count=sizes.starts + 1))[1:]
            slowest[kind] = _p95(took)
            more[kind] = {"median_ms": statistics.median(took), "all_ms": took}
    return {"submit_to_start_p95_ms": slowest}, more


def memory(both: Databases, sizes: Sizes) -> Found:
    """The dispatcher's resident memory while it works off a long queue."""
    found = {}
    for kind in KINDS:
        with both.migrated(kind) as database:
            found[kind] = dispatching.memory_mib(database, marks=sizes.marks)
    return {"dispatcher_memory_mib": found}, {"runs": sizes.marks[-1]}


PARTS: dict[str, Callable[[Databases, Sizes], Found]] = {
    "claim_finish": claim_finish,
    "full_lifecycle": full_lifecycle,
    "submissions": submissions,
    "plan": plan,
    "lists": lists,
    "cancel": cancel,
    "start": start,
    "memory": memory,
}


def _peers_rate(peer: Peer, jobs: int) -> float:
    peer.defer(jobs)
    return jobs / peer.work_off()


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")


def _milliseconds(seconds: Sequence[float]) -> list[float]:
    return [1000 * each for each in seconds]


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1]
