"""What a drain holds: a host, whatever Ray calls its node, or one of several nodes at one address."""

from __future__ import annotations

from prolu.client.wire import NodeRead
from service.store import figures, nodes
from service.store.db import Database
from tests.service.store.operations import see


def cluster(database: Database, *names: str) -> None:
    with database.begin() as session:
        see(session, *(NodeRead(name=name, cpus=2, gpus=0, memory_gb=8) for name in names))


def drain(database: Database, name: str, *, evict: bool = False) -> None:
    with database.begin() as session:
        assert nodes.drain(session, name, evict=evict, reason="new disks").draining


def undrain(database: Database, name: str) -> None:
    with database.begin() as session:
        nodes.undrain(session, name)


def draining(database: Database) -> list[str]:
    """The nodes that drain, on which everybody who asks agrees."""
    with database.read() as session:
        found = [node.name for node in nodes.nodes(session) if node.draining]
        assert figures.figures(session).offer.draining == len(found)
    assert [node.name for node in nodes.believed_nodes(database) if node.draining] == found
    return found


def test_a_drained_host_stays_drained_while_ray_restarts_on_it_and_under_its_new_name(database: Database) -> None:
    cluster(database, "10.0.0.1/aaaa", "10.0.0.11/cccc")
    drain(database, "10.0.0.1/aaaa", evict=True)
    cluster(database, "10.0.0.1/aaaa", "10.0.0.1/bbbb", "10.0.0.11/cccc")  # Ray has not noticed that the first is dead
    assert draining(database) == ["10.0.0.1/aaaa", "10.0.0.1/bbbb"]
    cluster(database, "10.0.0.11/cccc")
    assert draining(database) == []
    cluster(database, "10.0.0.1/bbbb", "10.0.0.11/cccc")
    assert draining(database) == ["10.0.0.1/bbbb"]
    with database.read() as session:
        assert nodes.evicted(session) == {"10.0.0.1/bbbb"}
    drain(database, "10.0.0.1/bbbb")
    with database.read() as session:
        assert nodes.evicted(session) == set(), "the second call has replaced the first"
    undrain(database, "10.0.0.1/bbbb")
    assert draining(database) == []


def test_a_host_is_taken_back_by_a_name_that_it_no_longer_has_or_by_its_address(database: Database) -> None:
    for name in ("10.0.0.1/aaaa", "10.0.0.1"):
        cluster(database, "10.0.0.1/aaaa")
        drain(database, "10.0.0.1/aaaa")
        cluster(database, "10.0.0.1/bbbb")
        undrain(database, name)
        assert draining(database) == []


def test_of_several_nodes_at_one_address_one_drains_alone_and_its_drain_ends_with_it(database: Database) -> None:
    cluster(database, "10.0.0.1/aaaa", "10.0.0.1/bbbb")
    drain(database, "10.0.0.1/bbbb")
    assert draining(database) == ["10.0.0.1/bbbb"]
    cluster(database, "10.0.0.1/bbbb")
    drain(database, "10.0.0.1/bbbb")  # now it is the host that drains
    cluster(database, "10.0.0.1/aaaa", "10.0.0.1/cccc")
    assert draining(database) == ["10.0.0.1/aaaa", "10.0.0.1/cccc"]
    undrain(database, "10.0.0.1/cccc")
    drain(database, "10.0.0.1/cccc")
    cluster(database, "10.0.0.1/aaaa")
    cluster(database, "10.0.0.1/aaaa", "10.0.0.1/cccc")
    assert draining(database) == []
