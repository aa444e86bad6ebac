"""The README's account of the queue is that of docs/measured/queue.json, which is what `make bench-queue` wrote."""

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from benchmarks.queue.__main__ import GOALS

ROOT = Path(__file__).parents[2]
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
QUEUE: dict[str, Any] = json.loads((ROOT / "docs/measured/queue.json").read_text(encoding="utf-8"))
KINDS = ("sqlite", "postgresql")


def queue_rows() -> list[str]:
    memory = {kind: list(found.values()) for kind, found in QUEUE["dispatcher_memory_mib"].items()}
    return [
        row("Submissions through HTTP, one by one", "at least 300/s", by_kind("submissions_per_s", "{:.0f}/s")),
        row(
            "One sweep of 10,000 runs, from the request to its answer",
            "below 5 s",
            by_kind("sweep_10000_s", "{:.1f} s"),
        ),
        row(
            "From a submission into an idle queue to the decision to start, p95",
            "below 250 ms",
            by_kind("submit_to_start_p95_ms", "{:.0f} ms"),
        ),
        row("A page of a list of 100,000 runs, p95", "below 50 ms", by_kind("list_p95_ms", "{:.1f} ms")),
        row("Cancel 1,000 runs", "below 2 s", by_kind("cancel_1000_s", "{:.2f} s")),
        row(
            "Memory of the dispatcher after 1,000 and after 10,000 runs",
            "flat",
            [f"{found[0]:.0f} and {found[-1]:.0f} MiB" for found in memory.values()],
        ),
        row(
            "A plan of 10,000 waiting runs, the slowest of the mixes",
            "below 200 ms",
            [f"{QUEUE['plan_10000_ms']:.0f} ms"] * 2,
        ),
    ]


def by_kind(name: str, form: str) -> list[str]:
    return [form.format(QUEUE[name][kind]) for kind in KINDS]


def row(what: str, goal: str, found: list[str]) -> str:
    return f"| {what} | {goal} | {' | '.join(found)} |"


@pytest.mark.parametrize("row", queue_rows())
def test_the_table_of_the_queue_is_what_was_measured(row: str) -> None:
    assert row in README


def test_the_ratio_to_procrastinate_that_is_quoted_was_measured() -> None:
    rounds = QUEUE["measured"]["claim_finish"]["rounds"]
    lives = QUEUE["measured"]["full_lifecycle"]["rounds"]
    assert QUEUE["claim_finish_vs_procrastinate"] == statistics.median(one["ratio"] for one in rounds)
    assert f"{QUEUE['claim_finish_vs_procrastinate']:.1f} times procrastinate's rate" in README
    assert f"{QUEUE['measured']['claim_finish']['ours_one_by_one_per_s']:.0f} runs/s one by one" in README
    ours, theirs = (statistics.median(one[name] for one in lives) for name in ("ours_per_s", "procrastinate_per_s"))
    assert f"{ours:.0f} runs/s against {theirs:.0f}" in README


def test_every_goal_is_reached_and_is_the_one_that_the_benchmark_sets() -> None:
    assert QUEUE["goals"] == GOALS
    assert QUEUE["claim_finish_vs_procrastinate"] >= 1
    assert QUEUE["plan_10000_ms"] < 200
    for kind in KINDS:
        assert QUEUE["submissions_per_s"][kind] >= 300
        assert QUEUE["sweep_10000_s"][kind] < 5
        assert QUEUE["list_p95_ms"][kind] < 50
        assert QUEUE["cancel_1000_s"][kind] < 2
        assert QUEUE["submit_to_start_p95_ms"][kind] < 250
        first, *_, last = QUEUE["dispatcher_memory_mib"][kind].values()
        assert last < 1.05 * first
