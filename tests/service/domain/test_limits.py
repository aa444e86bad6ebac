"""Which limit of time an attempt has passed."""

from __future__ import annotations

import pytest

from service.domain.limits import Limits, overrun

LIMITS = Limits(start_seconds=10, run_seconds=100, no_progress_seconds=30)


@pytest.mark.parametrize(
    ("state", "age", "silent", "limit"),
    [
        ("starting", 10, 10, None),
        ("starting", 11, 11, "start"),
        ("running", 11, 11, None),
        ("running", 100, 30, None),
        ("running", 101, 0, "run"),
        ("running", 60, 31, "no_progress"),
        ("stopping", 101, 0, "run"),
    ],
)
def test_a_limit_is_passed_by_who_takes_longer(state: str, age: float, silent: float, limit: str | None) -> None:
    found = overrun(state, LIMITS, age_seconds=age, silent_seconds=silent)  # type: ignore[arg-type]
    assert (found.limit if found else None) == limit


def test_without_limits_nothing_is_late() -> None:
    assert overrun("running", Limits(), age_seconds=1e9, silent_seconds=1e9) is None
    assert overrun("starting", Limits(), age_seconds=1e9, silent_seconds=1e9) is None


def test_the_sentence_names_the_limit_and_what_to_do() -> None:
    found = overrun("running", LIMITS, age_seconds=101, silent_seconds=0)
    assert found is not None
    assert found.sentence == (
        "The attempt took longer than limits.run_seconds (100); retry it with a larger one, and it goes on from its "
        "last checkpoint."
    )
