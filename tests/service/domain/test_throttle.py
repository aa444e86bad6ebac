"""A token bucket for each."""

from __future__ import annotations

import pytest

from service.domain.throttle import Throttle


def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    throttle = Throttle(per_second=2.0, burst=3)
    assert [throttle.take("ada", 100.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert throttle.take("ada", 100.25) == pytest.approx(0.25)
    assert throttle.take("ada", 100.5) == 0
    assert throttle.take("ada", 100.5) == pytest.approx(0.5)


def test_a_pause_fills_the_bucket_and_no_more() -> None:
    throttle = Throttle(per_second=2.0, burst=3)
    throttle.take("ada", 0.0)
    assert [throttle.take("ada", 1e6) > 0 for _ in range(4)] == [False, False, False, True]


def test_nobody_waits_for_another() -> None:
    throttle = Throttle(per_second=0.1, burst=1)
    assert throttle.take("ada", 0.0) == throttle.take("bob", 0.0) == 0
    assert throttle.take("ada", 0.0) == pytest.approx(10)


def test_a_slow_rate_lets_the_first_request_through_after_its_time() -> None:
    throttle = Throttle(per_second=0.5, burst=1)
    throttle.take("ada", 0.0)
    assert throttle.take("ada", 1.0) == pytest.approx(1.0)
    assert throttle.take("ada", 2.0) == 0
