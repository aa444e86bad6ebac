"""What a dispatcher counts, as Prometheus reads it."""

from __future__ import annotations

import socket

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures_ray import free_port
from workers.metrics import DispatcherMetrics


@pytest.fixture
def metrics() -> DispatcherMetrics:
    return DispatcherMetrics()


def value(metrics: DispatcherMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_everything_begins_at_zero(metrics: DispatcherMetrics):
    for name in ("lease_renewals", "zombie_writes_refused", "actors_started", "actors_killed"):
        assert value(metrics, f"prolu_{name}_total") == 0
    assert value(metrics, "prolu_dispatcher_leads") == 0


def test_what_happens_is_counted(metrics: DispatcherMetrics):
    metrics.leads(yes=True)
    metrics.renewed(3)
    metrics.refused(2)
    metrics.refused(0)
    metrics.started()
    metrics.killed()
    metrics.ended("succeeded")
    metrics.ended("lost", "node_lost")
    metrics.ended("lost", "node_lost")
    assert value(metrics, "prolu_dispatcher_leads") == 1
    assert value(metrics, "prolu_lease_renewals_total") == 3
    assert value(metrics, "prolu_zombie_writes_refused_total") == 3
    assert value(metrics, "prolu_actors_started_total") == 1
    assert value(metrics, "prolu_actors_killed_total") == 1
    assert value(metrics, "prolu_dispatched_attempts_total", outcome="succeeded", failure_class="") == 1
    assert value(metrics, "prolu_dispatched_attempts_total", outcome="lost", failure_class="node_lost") == 2
    metrics.leads(yes=False)
    assert value(metrics, "prolu_dispatcher_leads") == 0


def test_what_takes_time_is_timed_even_if_it_fails(metrics: DispatcherMetrics):
    with metrics.tick(), metrics.claim():
        pass
    with pytest.raises(RuntimeError), metrics.tick():
        raise RuntimeError("the database is gone")
    metrics.claimed(30.0)
    metrics.claimed(-0.001)  # two clocks
    assert value(metrics, "prolu_tick_duration_seconds_count") == 2
    assert value(metrics, "prolu_claim_duration_seconds_count") == 1
    assert value(metrics, "prolu_wait_seconds_sum") == 30.0
    assert value(metrics, "prolu_wait_seconds_bucket", le="60.0") == 2
    assert value(metrics, "prolu_wait_seconds_bucket", le="15.0") == 1


def test_metrics_are_served_while_the_dispatcher_lives_and_not_after(metrics: DispatcherMetrics):
    port = free_port()
    metrics.started()
    with metrics.served("127.0.0.1", port):
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
        families = {family.name for family in text_string_to_metric_families(answer.text)}
        assert {"prolu_actors_started", "prolu_wait_seconds"} <= families
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")


def test_port_zero_serves_nothing(metrics: DispatcherMetrics):
    with metrics.served("127.0.0.1", 0) as port:
        assert port is None


def test_a_port_that_is_taken_is_said_so(metrics: DispatcherMetrics):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"), metrics.served("127.0.0.1", taken.getsockname()[1]):
            pass
