"""Submissions believe for a second which nodes there are, and refuse nothing for what they believed."""

from __future__ import annotations

from collections.abc import Sequence

from prolu.client.wire import NodeRead
from prolu.spec import Mistake, ResourcesSpec
from service.store.db import Database
from service.store.inputs import check_resources
from service.store.offers import Offers
from tests.service.store.operations import see


def test_a_node_that_came_within_the_second_is_asked_for_before_a_run_is_refused(database: Database) -> None:
    offers = Offers(database, clock=lambda: 0.0)
    record(database, cpus=2)
    assert not refusals(offers, cpus=2)
    assert "resources.cpus is 8" in refusals(offers, cpus=8)[0].sentence
    record(database, cpus=8)
    assert not refusals(offers, cpus=8)


def test_a_node_that_has_gone_is_believed_for_a_second_and_no_longer(database: Database) -> None:
    now = [0.0]
    offers = Offers(database, clock=lambda: now[0])
    record(database, cpus=8)
    assert not refusals(offers, cpus=8)
    record(database, cpus=2)
    now[0] = 0.9
    assert not refusals(offers, cpus=8)
    now[0] = 1.1
    assert refusals(offers, cpus=8)


def record(database: Database, *, cpus: float) -> None:
    with database.begin() as session:
        see(session, NodeRead(name="10.0.0.1/aaaa", cpus=cpus, gpus=0, memory_gb=8))


def refusals(offers: Offers, *, cpus: int) -> list[Mistake]:
    def find(known: Sequence[NodeRead]) -> list[Mistake]:
        return check_resources(ResourcesSpec(cpus=cpus), known)

    return offers.mistakes(find)
