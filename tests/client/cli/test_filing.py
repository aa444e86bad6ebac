"""Tags, notes, pins, the archive and the life of checkpoints, from the command line."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, FAILED, NOT_YOURS, OK
from tests.client.conftest import Prolu
from tests.client.desk import RUN, Desk


@pytest.fixture
def run(client: Client, desk: Desk) -> UUID:
    run = client.runs.submit(RUN).id
    desk.claim()
    desk.train(run)
    return run


def test_tags_are_added_removed_and_shown(prolu: Prolu, run: UUID) -> None:
    assert prolu("tag", "last", "draft", "paper:figure-3") == (OK, "draft paper:figure-3\n", "")
    assert prolu("tag", str(run), "baseline", "--remove", "draft")[1] == "baseline paper:figure-3\n"
    assert prolu("tag", "last")[1] == "baseline paper:figure-3\n"
    assert json.loads(prolu("tag", "last", "--json")[1])["tags"] == ["baseline", "paper:figure-3"]
    status, out, err = prolu("tag", "last", "no tag")
    assert (status, out) == (BAD_INPUT, "")
    assert "a tag such as 'baseline'" in err


def test_a_note_is_written_read_and_taken_away(prolu: Prolu, run: UUID) -> None:
    assert prolu("note", "last", "-", stdin="# Good\nat last")[:2] == (OK, "# Good\nat last\n")
    assert prolu("note", "last")[1] == "# Good\nat last\n"
    assert json.loads(prolu("note", "last", "better", "--json")[1])["note"] == "better"
    assert prolu("note", "last", "--clear")[:2] == (OK, "")
    assert prolu("note", "last", "x", "--clear")[0] == BAD_INPUT
    assert prolu("note", "last", "\x1b[2J")[0] == BAD_INPUT
    assert prolu("note", str(uuid4()))[0] == NOT_YOURS


def test_what_is_archived_is_listed_when_it_is_asked_for(prolu: Prolu, run: UUID, finished: UUID) -> None:
    status, _, err = prolu("archive", str(run), str(finished))
    assert (status, err) == (OK, f"{run} is in the archive\n{finished} is in the archive\n")
    for words in (["ls", "--json"], ["ls", "--sweeps", "--json"]):
        assert json.loads(prolu(*words)[1]) == []
        assert len(json.loads(prolu(*words, "--archived")[1])) == (1 if "--sweeps" in words else 5)
    assert [one["archived"] for one in json.loads(prolu("unarchive", str(run), "--json")[1])] == [False]
    assert len(json.loads(prolu("ls", "--json")[1])) == 1


def test_runs_and_checkpoints_are_pinned(prolu: Prolu, client: Client, run: UUID) -> None:
    last, first = client.checkpoints.list(run=run)
    assert prolu("pin", str(run))[2] == f"{run} is pinned\n"
    assert "step 50) is pinned" in prolu("pin", "last", "--step", "50")[2]
    assert [one["pinned"] for one in json.loads(prolu("pin", str(last.id), "--json")[1])] == [True]
    assert [one.pinned for one in client.checkpoints.list(run=run)] == [True, True]
    assert prolu("unpin", str(run), str(last.id), str(first.id))[0] == OK
    assert client.checkpoints.list(pinned=True) == []
    assert not client.runs.get(run).pinned


def test_checkpoints_are_listed(prolu: Prolu, client: Client, run: UUID) -> None:
    last, first = client.checkpoints.list(run=run)
    _, out, _ = prolu("checkpoints")
    assert [line.split()[0] for line in out.splitlines()[1:]] == [str(last.id), str(first.id)]
    listed = json.loads(prolu("checkpoints", "last", "--final", "--json")[1])
    assert [one["id"] for one in listed] == [str(last.id)]
    assert json.loads(prolu("checkpoints", "--pinned", "--json")[1]) == []


def test_a_checkpoint_that_differs_is_told_and_ends_the_command_so(prolu: Prolu, desk: Desk, run: UUID) -> None:
    status, _, err = prolu("verify", "last")
    assert (status, err.partition(": ")[2]) == (OK, "3 files are as they were written\n")
    (desk.artifacts / f"runs/{run}/e1/step-50/sae.safetensors").write_bytes(b"no")
    status, _, err = prolu("verify", str(run), "--step", "50")
    assert status == FAILED
    assert err.endswith("at step 50: sae.safetensors is shorter (2 bytes)\n")
    status, out, _ = prolu("verify", str(run), "--step", "50", "--json")
    assert (status, json.loads(out)[0]["good"]) == (FAILED, False)


def test_a_prune_is_shown_before_it_is_done(prolu: Prolu, client: Client, run: UUID) -> None:
    status, out, err = prolu("prune", "last", "--dry-run")
    assert (status, err.startswith("1 checkpoints (7.0 kB) would go, 1 (7.0 kB) stay")) == (OK, True)
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["goes", "final"]
    assert len(client.checkpoints.list(run=run)) == 2
    kept = ["--keep-last", "2", "--keep-best", "1", "--metric", "fvu", "--drop-final"]
    assert json.loads(prolu("prune", "last", *kept, "--json")[1])["deleted"] == 0
    assert prolu("prune", "last")[2].startswith("1 checkpoints (7.0 kB) are deleted")
    assert [one.step for one in client.checkpoints.list(run=run)] == [100]


@pytest.mark.parametrize(
    "words",
    [
        ["prune", "last", "--keep-best", "2"],
        ["prune", "last", "--metric", "fvu"],
        ["prune", "last", "--keep-best", "1", "--metric", "fvu", "--goal", "up"],
        ["prune", "last", "--keep-best", "1", "--metric", "l9"],
        ["prune", "last", "--keep-last", "-1"],
        ["delete", "abcd1234"],
    ],
)
def test_what_makes_no_sense_deletes_nothing(prolu: Prolu, client: Client, run: UUID, words: list[str]) -> None:
    assert prolu(*words)[0] == BAD_INPUT
    assert len(client.checkpoints.list(run=run)) == 2


def test_checkpoints_are_deleted_by_their_whole_ids(prolu: Prolu, client: Client, run: UUID) -> None:
    last, first = client.checkpoints.list(run=run)
    client.checkpoints.pin(first.id)
    status, _, err = prolu("delete", str(last.id))
    assert (status, err) == (OK, f"checkpoint {last.id} is deleted\n")
    assert prolu("delete", str(last.id))[0] == NOT_YOURS
    status, _, err = prolu("delete", str(first.id), "--json")
    assert status == FAILED
    assert "is pinned; unpin it" in err
    client.checkpoints.unpin(first.id)
    assert json.loads(prolu("delete", str(first.id), "--json")[1]) == [{"id": str(first.id), "deleted": True}]


def test_what_is_in_the_archive_is_still_named_by_the_end_of_its_id(prolu: Prolu, client: Client, run: UUID) -> None:
    short = str(run)[-8:]
    assert prolu("archive", short)[0] == OK
    assert client.runs.list() == []
    assert json.loads(prolu("show", short, "--json")[1])["id"] == str(run)
    assert prolu("unarchive", short)[0] == OK
    assert [one.id for one in client.runs.list(id=short)] == [run]
    assert [one.id for one in client.runs.list('state != "queued"', id=short)] == [run]
