"""Submissions believe for a second which nodes there are, and refuse nothing for what they believed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import update

from prolu.client.wire import NodeRead
from prolu.spec import Mistake, ResourcesSpec
from service.store import nodes
from service.store.db import Database
from service.store.inputs import check_resources
from service.store.models import DepartedNodeRow
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


def test_what_a_node_offered_that_restarts_is_not_refused_and_after_an_hour_it_is(database: Database) -> None:
    record(database, cpus=8)
    with database.begin() as session:
        see(session, NodeRead(name="10.0.0.2/bbbb", cpus=2, gpus=0, memory_gb=8))
    assert not refusals(Offers(database), cpus=8)
    assert "than 8 (10.0.0.1/aaaa)" in refusals(Offers(database), cpus=16)[0].sentence
    with database.begin() as session:
        session.execute(update(DepartedNodeRow).values(gone_at=datetime.now(UTC) - nodes.MAY_BE_BACK))
    assert "than 2 (10.0.0.2/bbbb)" in refusals(Offers(database), cpus=8)[0].sentence


def test_a_machine_that_is_back_with_less_is_believed_to_have_less(database: Database) -> None:
    record(database, cpus=8)
    with database.begin() as session:
        see(session)
    with database.begin() as session:
        see(session, NodeRead(name="10.0.0.1/cccc", cpus=4, gpus=0, memory_gb=8))
    assert "than 4 (10.0.0.1/cccc)" in refusals(Offers(database), cpus=8)[0].sentence


def test_a_head_that_computes_nothing_says_nothing_of_the_cluster(database: Database) -> None:
    with database.begin() as session:
        see(session, NodeRead(name="10.0.0.1/aaaa", cpus=0, gpus=0, memory_gb=8))
    assert not refusals(Offers(database), cpus=64)


def record(database: Database, *, cpus: float) -> None:
    with database.begin() as session:
        see(session, NodeRead(name="10.0.0.1/aaaa", cpus=cpus, gpus=0, memory_gb=8))


def refusals(offers: Offers, *, cpus: int) -> list[Mistake]:
    def find(known: Sequence[NodeRead]) -> list[Mistake]:
        return check_resources(ResourcesSpec(cpus=cpus), known)

    return offers.mistakes(find)
