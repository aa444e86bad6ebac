"""`prolu queue`, `explain`, `shares`, `nodes`, `drain`, `undrain`: what people read."""

from __future__ import annotations

import json

from prolu.client import Client
from prolu.client.cli.app import OK
from tests.client.conftest import Prolu
from tests.client.desk import RUN, Desk


def test_the_queue_and_its_reasons_are_told(prolu: Prolu, client: Client, desk: Desk) -> None:
    desk.see_nodes()
    first, second = client.runs.submit(RUN), client.runs.submit(RUN)
    told = prolu("queue")[1]
    assert "127.0.0.1/abcd: 2 CPUs, 0 GPUs, 8 GiB" in told
    assert told.index(str(first.id)[-8:]) < told.index(str(second.id)[-8:])
    assert "are free on 127.0.0.1/abcd" in told
    told = prolu("explain", str(second.id))[1]
    assert "place 2: score" in told
    assert "share of admin: had 0%, is due 100%" in told
    assert "ahead of it: 1" in told
    assert json.loads(prolu("explain", "--json", str(second.id))[1])["position"] == 2


def test_the_shares_are_told(prolu: Prolu, client: Client) -> None:
    client.runs.submit(RUN)
    told = prolu("shares")[1]
    assert "shares; half-life 7 days" in told
    assert "admin" in told
    assert json.loads(prolu("shares", "--json")[1])["shares"][0]["waiting_runs"] == 1


def test_a_node_is_drained_and_taken_back(prolu: Prolu, desk: Desk) -> None:
    desk.see_nodes()
    assert (
        "starts nothing more; what runs there goes back to the queue"
        in (prolu("drain", "127.0.0.1/abcd", "--evict", "--reason", "new disks")[2])
    )
    assert "draining, its runs leave: new disks" in prolu("nodes")[1]
    assert "starts runs again" in prolu("undrain", "127.0.0.1/abcd")[2]
    assert "draining" not in prolu("nodes")[1]
    assert prolu("drain", "nowhere")[0] == 4


def test_undraining_as_json_prints_the_node(prolu: Prolu, desk: Desk) -> None:
    desk.see_nodes()
    assert prolu("drain", "127.0.0.1/abcd")[0] == OK
    status, out, _ = prolu("undrain", "127.0.0.1/abcd", "--json")
    assert (status, [node["draining"] for node in json.loads(out)]) == (OK, [False])
