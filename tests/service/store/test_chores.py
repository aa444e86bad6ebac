"""What is asked of a checkpoint is done once, by whoever holds it, and no late word of a lost worker counts."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest
from sqlalchemy import select, text

from prolu.client.wire import ChoreKind, ChoreRead, NodeRead, PruneRequest
from prolu.spec.report import CheckpointFile, CheckpointWritten
from prolu.spec.run import ExportFormat
from service.domain.errors import Conflict, NotFound, QueueFull
from service.store import chore_work, chores, deletion, lease, nodes, pruning, queue, results, reuse
from service.store.chore_work import Taken
from service.store.db import Database
from service.store.models import CheckpointRow, ChoreRow, RunRow
from tests.service.store.operations import claim, run_together, say, submit
from tests.service.store.specs import run_spec, snapshot

FILES = [{"name": "sae_lens/cfg.json", "bytes": 2, "sha256": "0" * 64}]
MADE = {"files": FILES, "notes": ["Rows are scaled."]}


@pytest.fixture
def checkpoint_id(database: Database, owner_id: UUID) -> UUID:
    return checkpoint_of(database, owner_id, "config.json", "sae.safetensors", "training.safetensors")


def checkpoint_of(database: Database, owner_id: UUID, *names: str) -> UUID:
    """A checkpoint of a new run, with files of these names."""
    run_id = submit(database, owner_id)
    claim(database, run_id)
    files = [CheckpointFile(name=name, bytes=1, sha256="0" * 64) for name in names]
    path = f"runs/{run_id}/e1/step-5"
    say(database, run_id, 1, CheckpointWritten(step=5, tokens=50, path=path, files=files, final=False))
    with database.read() as session:
        return session.scalars(select(CheckpointRow.id).where(CheckpointRow.run_id == run_id)).one()


def ask(
    database: Database,
    checkpoint_id: UUID,
    by: UUID,
    kind: ChoreKind = "export",
    layout: ExportFormat | None = "sae_lens",
) -> tuple[ChoreRead, bool]:
    with database.begin() as session:
        checkpoint, folder = results.checkpoint(session, checkpoint_id)
        return chores.ask(session, checkpoint, folder, kind, layout, asked_by=by)


def take(database: Database, *, holder: str = "us", at_once: int = 2) -> list[Taken]:
    with database.begin() as session:
        return chore_work.take(session, holder, at_once=at_once)


def lose(database: Database, chore: Taken) -> bool:
    with database.begin() as session:
        return chore_work.lose(session, chore, "Its worker was lost.")


def succeed(database: Database, chore: Taken) -> bool:
    with database.begin() as session:
        return chore_work.succeed(session, chore, MADE)


def read(database: Database, chore_id: UUID) -> ChoreRead:
    with database.read() as session:
        return chores.read(session, chore_id)


def end_pause(database: Database) -> None:
    """What the passing of time would do."""
    with database.begin() as session:
        session.execute(text("UPDATE chores SET not_before = '2000-01-01 00:00:00.000000'"))


def test_whoever_asks_for_the_same_gets_the_one_that_is_there_and_then_what_came_of_it(
    database: Database, owner_id: UUID, checkpoint_id: UUID
) -> None:
    first, fresh = ask(database, checkpoint_id, owner_id)
    again, anew = ask(database, checkpoint_id, owner_id)
    other, _ = ask(database, checkpoint_id, owner_id, layout="dictionary_learning")
    assert (fresh, anew, again.id, again.state) == (True, False, first.id, "queued")
    assert other.id != first.id
    (taken, _) = take(database)
    assert succeed(database, taken)
    done, anew = ask(database, checkpoint_id, owner_id)
    assert (done.id, done.state, anew) == (first.id, "succeeded", False)
    assert [file.name for file in done.files] == ["sae_lens/cfg.json"]
    with database.read() as session:
        made = chores.made(session, checkpoint_id, "sae_lens")
        assert made is not None
        assert made.folder == taken.target
        assert chores.made(session, checkpoint_id, "dictionary_learning") is None


def test_of_many_who_ask_at_the_same_moment_one_makes_the_chore(
    database: Database, owner_id: UUID, checkpoint_id: UUID
) -> None:
    found: list[tuple[ChoreRead, bool]] = []
    run_together(*[lambda: found.append(ask(database, checkpoint_id, owner_id))] * 4)
    assert len({chore.id for chore, _ in found}) == 1
    assert [fresh for _, fresh in found].count(True) == 1


def test_an_export_that_its_run_wrote_is_done_already(database: Database, owner_id: UUID) -> None:
    checkpoint_id = checkpoint_of(database, owner_id, "config.json", "sae_lens/cfg.json")
    chore, fresh = ask(database, checkpoint_id, owner_id)
    assert (chore.state, fresh, [file.name for file in chore.files]) == ("succeeded", True, ["sae_lens/cfg.json"])
    assert take(database) == []


def test_what_cannot_be_computed_again_is_refused_at_once(database: Database, owner_id: UUID) -> None:
    checkpoint_id = checkpoint_of(database, owner_id, "config.json")
    with pytest.raises(Conflict, match=r"no training\.safetensors.*another checkpoint"):
        ask(database, checkpoint_id, owner_id, "recompute", None)


def test_statistics_that_were_computed_again_are_shown_with_their_run(
    database: Database, owner_id: UUID, checkpoint_id: UUID
) -> None:
    chore, _ = ask(database, checkpoint_id, owner_id, "recompute", None)
    (taken,) = take(database)
    with database.begin() as session:
        chore_work.succeed(session, taken, snapshot(5).model_dump(mode="json", exclude={"kind"}))
    found = read(database, chore.id)
    assert found.snapshot is not None
    assert found.snapshot.statistics == snapshot(5).statistics
    assert (found.state, found.files) == ("succeeded", [])


def test_no_more_are_at_work_than_allowed_and_the_oldest_go_first(
    database: Database, owner_id: UUID, checkpoint_id: UUID
) -> None:
    first, _ = ask(database, checkpoint_id, owner_id)
    second, _ = ask(database, checkpoint_id, owner_id, "recompute", None)
    (one,) = take(database, at_once=1)
    assert one.id == first.id
    with database.begin() as session:
        assert chore_work.take(session, "us", at_once=1, at_work=[(one.id, one.epoch)]) == []
    assert succeed(database, one)
    assert [chore.id for chore in take(database, at_once=1)] == [second.id]


def test_a_lost_worker_is_replaced_twice_and_what_it_says_later_is_refused(
    database: Database, owner_id: UUID, checkpoint_id: UUID
) -> None:
    chore, _ = ask(database, checkpoint_id, owner_id)
    past = []
    for _ in range(chore_work.MOST_LOSSES):
        (taken,) = take(database)
        assert lose(database, taken)
        assert take(database) == [], "it waits a little"
        end_pause(database)
        past.append(taken)
        assert not succeed(database, taken)
    assert len({taken.target for taken in past}) == chore_work.MOST_LOSSES, "nobody writes where another did"
    found = read(database, chore.id)
    assert (found.state, found.files) == ("failed", [])
    assert "Tried 3 times. Its worker was lost." in str(found.message)
    anew, fresh = ask(database, checkpoint_id, owner_id)
    assert fresh
    assert anew.id != chore.id


def test_what_another_dispatcher_left_behind_is_begun_anew_and_does_not_count_as_lost(
    database: Database, owner_id: UUID, checkpoint_id: UUID
) -> None:
    ask(database, checkpoint_id, owner_id)
    for leader in ("a", "b", "c", "d", "e"):
        (taken,) = take(database, holder=leader)
    assert taken.epoch == 5
    assert not succeed(database, Taken(taken.id, 4, taken.kind, taken.format, taken.checkpoint, taken.target))
    assert succeed(database, taken)


def test_one_user_has_no_more_than_a_bounded_number_open(
    database: Database, owner_id: UUID, checkpoint_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "MOST_OPEN", 1)
    ask(database, checkpoint_id, owner_id)
    ask(database, checkpoint_id, owner_id)
    with pytest.raises(QueueFull, match="1 chores open"):
        ask(database, checkpoint_id, owner_id, "recompute", None)


def test_chores_go_with_their_checkpoint_which_stays_while_it_is_read(
    database: Database, owner_id: UUID, checkpoint_id: UUID
) -> None:
    later = checkpoint_of(database, owner_id, "config.json")
    chore, _ = ask(database, checkpoint_id, owner_id)
    ask(database, later, owner_id)
    (taken, other) = take(database)
    with database.begin() as session:
        session.execute(text("UPDATE runs SET state = 'succeeded'"))
    with database.begin() as session, pytest.raises(Conflict, match="being read by chore"):
        deletion.mark_one(session, checkpoint_id)
    lose(database, taken)
    lose(database, other)
    end_pause(database)
    with database.begin() as session:
        deletion.mark_one(session, checkpoint_id)
    assert [one.id for one in take(database)] == [other.id], "what is being deleted is not read"
    with pytest.raises(NotFound, match="go with their checkpoint"):
        read(database, chore.id)
    with database.begin() as session:
        session.execute(CheckpointRow.__table__.delete().where(CheckpointRow.id == checkpoint_id))
        assert [row.id for row in session.scalars(select(ChoreRow))] == [other.id]


def test_it_is_told_what_a_chore_waits_for(database: Database, owner_id: UUID, checkpoint_id: UUID) -> None:
    chore, _ = ask(database, checkpoint_id, owner_id)
    assert "waits for a dispatcher" in str(read(database, chore.id).message)
    with database.begin() as session:
        lease.lead(session, "us", seconds=60)
        nodes.record_nodes(session, [NodeRead(name="head/1", cpus=0, gpus=0, memory_gb=1)])
    assert "waits for a node" in str(read(database, chore.id).message)
    with database.begin() as session:
        nodes.record_nodes(session, [NodeRead(name="node/1", cpus=2, gpus=0, memory_gb=1)])
    assert read(database, chore.id).message is None


def test_a_policy_keeps_what_a_worker_reads(database: Database, owner_id: UUID, checkpoint_id: UUID) -> None:
    ask(database, checkpoint_id, owner_id)
    take(database)
    with database.begin() as session:
        session.execute(text("UPDATE runs SET state = 'succeeded'"))
        run_id = session.scalars(select(CheckpointRow.run_id)).one()
    with database.begin() as session:
        pruned = pruning.prune_run(session, run_id, PruneRequest(keep_last=0, keep_final=False, dry_run=False))
    assert (pruned.deleted, [one.kept_as for one in pruned.checkpoints]) == (0, [["needed"]])


def test_nothing_is_taken_of_a_checkpoint_that_is_marked_at_that_moment(
    database: Database, owner_id: UUID, checkpoint_id: UUID
) -> None:
    ask(database, checkpoint_id, owner_id)
    with database.begin() as session:
        session.execute(text("UPDATE runs SET state = 'succeeded'"))
    taken: list[Taken] = []
    other = threading.Thread(target=lambda: taken.extend(take(database)))
    with database.begin() as session:
        deletion.mark_one(session, checkpoint_id)
        other.start()
        other.join(0.3)
    other.join()
    assert taken == []


def test_a_run_that_others_begin_to_refer_to_keeps_its_checkpoint(
    database: Database, owner_id: UUID, checkpoint_id: UUID
) -> None:
    refused: list[Conflict] = []

    def delete() -> None:
        try:
            with database.begin() as session:
                deletion.mark_one(session, checkpoint_id)
        except Conflict as error:
            refused.append(error)

    with database.begin() as session:
        session.execute(text("UPDATE runs SET state = 'succeeded'"))
        session.execute(text("UPDATE checkpoints SET final = true"))
        digest = session.scalars(select(RunRow.digest)).one()
    other = threading.Thread(target=delete)
    with database.begin() as session:
        (source,) = reuse.held(session, [digest], owner_id=owner_id).values()
        other.start()
        other.join(0.3)
        queue.submit_run(session, owner_id=owner_id, spec=run_spec(), priority=50, reused=source)
    other.join()
    assert len(refused) == 1
