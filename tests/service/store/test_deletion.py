"""Checkpoints go by policy or by name, never one that a run still needs, and never by halves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from prolu.client.wire import KeepBest, PruneRead, PruneRequest
from prolu.spec.report import CheckpointFile, CheckpointWritten, Failed, MetricPoint, Report, Succeeded
from service.domain.errors import Conflict, Invalid, NotFound, Unavailable
from service.domain.expansion import expand
from service.store import deletion, pruning, queue, results, successors
from service.store.artifacts import Artifacts
from service.store.db import Database
from service.store.deletion import Remover
from service.store.models import CheckpointRow, EventRow, RunRow, SweepRow
from service.store.resumption import beginnings
from service.store.successors import Again
from tests.service.store.operations import claim, run_together, say, submit
from tests.service.store.specs import sweep_spec

SUCCEEDED = Succeeded(step=30, metrics={"fvu": 0.1})
FAILED = Failed(step=35, failure_class="user_error", message="no")


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


def written(artifacts: Path, run_id: UUID, step: int, *, epoch: int = 1, final: bool = False) -> CheckpointWritten:
    """Write a checkpoint as a worker does."""
    path = f"runs/{run_id}/e{epoch}/step-{step}"
    (artifacts / path).mkdir(parents=True)
    for name in ("sae.safetensors", "manifest.json"):
        (artifacts / path / name).write_bytes(b"12345")
    files = [CheckpointFile(name="sae.safetensors", bytes=5, sha256=hashlib.sha256(b"12345").hexdigest())]
    return CheckpointWritten(step=step, tokens=step, path=path, files=files, final=final)


def train(
    database: Database, artifacts: Path, run_id: UUID, *ends: Report, steps: tuple[int, ...] = (10, 20, 30)
) -> UUID:
    """Let a run write checkpoints, the last of a run that succeeds being final, and end."""
    final = steps[-1] if ends and isinstance(ends[0], Succeeded) else None
    epoch = claim(database, run_id)[0].epoch
    reports = [written(artifacts, run_id, step, epoch=epoch, final=step == final) for step in steps]
    say(database, run_id, epoch, *reports, *ends)
    return run_id


def on_offer(database: Database, *run_ids: UUID) -> list[int]:
    with database.read() as session:
        pages = [results.checkpoints(session, run_id, limit=100, cursor=None) for run_id in run_ids]
    return [one.step for page in pages for one in page.items]


def id_of(database: Database, run_id: UUID, step: int) -> UUID:
    with database.read() as session:
        return session.scalars(
            select(CheckpointRow.id).where(CheckpointRow.run_id == run_id, CheckpointRow.step == step)
        ).one()


def prune(database: Database, run_id: UUID, **policy: object) -> PruneRead:
    with database.begin() as session:
        return pruning.prune_run(session, run_id, PruneRequest(**policy))  # type: ignore[arg-type]


def delete(database: Database, checkpoint_id: UUID) -> None:
    with database.begin() as session:
        deletion.mark_one(session, checkpoint_id)


def pinned(database: Database, table: type, identity: UUID) -> None:
    with database.begin() as session:
        session.execute(update(table).where(table.id == identity).values(pinned=True))  # type: ignore[attr-defined]


def retry(database: Database, run_id: UUID) -> UUID:
    with database.begin() as session:
        return successors.retry(session, run_id, Again())


def told(read: PruneRead) -> dict[int, list[str]]:
    return {one.step: list(one.kept_as) for one in read.checkpoints}


def test_a_dry_run_says_what_would_go_and_nothing_does(database: Database, owner_id: UUID, artifacts: Path) -> None:
    run_id = train(database, artifacts, submit(database, owner_id), SUCCEEDED)
    read = prune(database, run_id, dry_run=True)
    assert told(read) == {10: [], 20: [], 30: ["final"]}
    assert (read.deleted, read.deleted_bytes, read.kept, read.kept_bytes) == (2, 10, 1, 5)
    assert on_offer(database, run_id) == [10, 20, 30]
    truly = prune(database, run_id)
    assert (truly.dry_run, truly.checkpoints) == (False, read.checkpoints)
    assert on_offer(database, run_id) == [30]


def test_what_is_deleted_is_told_among_the_events_of_the_run(
    database: Database, owner_id: UUID, artifacts: Path
) -> None:
    run_id = train(database, artifacts, submit(database, owner_id), SUCCEEDED)
    prune(database, run_id)
    with database.read() as session:
        last = session.scalars(select(EventRow).where(EventRow.run_id == run_id).order_by(EventRow.id.desc())).first()
    assert last is not None
    assert (last.kind, last.detail) == ("checkpoints_deleted", {"count": 2, "bytes": 10, "steps": [10, 20]})


def test_the_best_are_judged_where_they_were_measured(database: Database, owner_id: UUID, artifacts: Path) -> None:
    run_id = submit(database, owner_id)
    points = [
        MetricPoint(split=split, step=step, tokens=1, values={"fvu": fvu})
        for split, step, fvu in (("held_out", 10, 0.2), ("held_out", 20, 0.3), ("train", 20, 0.0))
    ]
    train(database, artifacts, run_id)
    say(database, run_id, 1, *points, SUCCEEDED, start=4)
    best = KeepBest(metric="fvu")
    with database.begin() as session:
        session.execute(update(CheckpointRow).where(CheckpointRow.step == 30).values(final=True))
    assert told(prune(database, run_id, keep_final=False, keep_best=best, dry_run=True)) == {
        10: [],
        20: [],
        30: ["best"],
    }
    two = best.model_copy(update={"count": 2})
    assert told(prune(database, run_id, keep_final=False, keep_best=two, dry_run=True))[10] == ["best"]
    most = KeepBest(metric="fvu", goal="max")
    assert told(prune(database, run_id, keep_final=False, keep_best=most, dry_run=True))[20] == ["best"]
    with pytest.raises(Invalid, match="got 'l9', which was not at any"):
        prune(database, run_id, keep_best=KeepBest(metric="l9"))


def test_a_run_that_goes_on_keeps_where_it_would_go_on_from(
    database: Database, owner_id: UUID, artifacts: Path
) -> None:
    run_id = train(database, artifacts, submit(database, owner_id))
    assert told(prune(database, run_id)) == {10: [], 20: [], 30: ["needed"]}
    with pytest.raises(Conflict, match=f"is where run {run_id} goes on from"):
        delete(database, id_of(database, run_id, 30))


def test_a_run_that_may_be_tried_again_keeps_where_that_would_begin(
    database: Database, owner_id: UUID, artifacts: Path
) -> None:
    run_id = train(database, artifacts, submit(database, owner_id), FAILED)
    assert told(prune(database, run_id)) == {10: [], 20: [], 30: ["needed"]}
    delete(database, id_of(database, run_id, 30))  # asked for by name
    successor = retry(database, run_id)
    with database.read() as session:
        assert beginnings(session, [successor]) == {}


def test_what_a_successor_began_with_stays(database: Database, owner_id: UUID, artifacts: Path) -> None:
    first = train(database, artifacts, submit(database, owner_id), FAILED)
    second = retry(database, first)
    assert told(prune(database, first)) == {10: [], 20: [], 30: ["referred"]}
    with pytest.raises(Conflict, match=f"is where run {second} goes on from"):
        delete(database, id_of(database, first, 30))
    train(database, artifacts, second, FAILED, steps=(40,))
    third = retry(database, second)
    train(database, artifacts, third, Succeeded(step=60, metrics={}), steps=(60,))
    assert told(prune(database, first)) == {30: ["referred"]}
    delete(database, id_of(database, first, 30))


def test_what_a_run_refers_to_instead_of_training_again_stays(
    database: Database, owner_id: UUID, artifacts: Path
) -> None:
    run_id = train(database, artifacts, submit(database, owner_id), SUCCEEDED)
    other = submit(database, owner_id)
    with database.begin() as session:
        session.execute(update(RunRow).where(RunRow.id == other).values(reused_from=run_id))
    final = id_of(database, run_id, 30)
    assert told(prune(database, run_id, keep_final=False)) == {10: [], 20: [], 30: ["referred"]}
    with pytest.raises(Conflict, match=f"run {other} refers to"):
        delete(database, final)
    with database.begin() as session:
        session.execute(update(RunRow).where(RunRow.id == other).values(archived=True))
    delete(database, final)


def test_an_attempt_that_lives_keeps_what_it_reads(database: Database, owner_id: UUID, artifacts: Path) -> None:
    first = train(database, artifacts, submit(database, owner_id), FAILED)
    second = retry(database, first)
    claim(database, second)
    with database.begin() as session:
        session.execute(update(RunRow).where(RunRow.id == second).values(begins_with=None))
    assert told(prune(database, first)) == {10: [], 20: [], 30: ["needed"]}
    with pytest.raises(Conflict, match="goes on from"):
        delete(database, id_of(database, first, 30))


@pytest.mark.parametrize("table", [CheckpointRow, RunRow])
def test_what_is_pinned_stays(database: Database, owner_id: UUID, artifacts: Path, table: type) -> None:
    run_id = train(database, artifacts, submit(database, owner_id), SUCCEEDED)
    pinned(database, table, run_id if table is RunRow else id_of(database, run_id, 10))
    assert told(prune(database, run_id, keep_final=False))[10] == ["pinned"]
    if table is CheckpointRow:
        with pytest.raises(Conflict, match="is pinned; unpin it"):
            delete(database, id_of(database, run_id, 10))


def test_a_sweep_is_pruned_as_one(database: Database, owner_id: UUID, artifacts: Path) -> None:
    with database.begin() as session:
        spec = sweep_spec(2)
        sweep = queue.submit_sweep(session, owner_id=owner_id, spec=spec, points=expand(spec), priority=50).id
        runs = session.scalars(select(RunRow.id).where(RunRow.sweep_id == sweep).order_by(RunRow.point)).all()
    train(database, artifacts, runs[0], Succeeded(step=30, metrics={"fvu": 0.1}))
    train(database, artifacts, runs[1], Succeeded(step=30, metrics={"fvu": 0.2}))
    apart = train(database, artifacts, submit(database, owner_id), SUCCEEDED)
    policy = PruneRequest(keep_final=False, keep_best=KeepBest(metric="fvu"))
    with database.begin() as session:
        read = pruning.prune_sweep(session, sweep, policy)
    assert (read.deleted, read.kept) == (5, 1)
    assert on_offer(database, *runs, apart) == [30, 10, 20, 30]
    pinned(database, SweepRow, sweep)
    with database.begin() as session:
        assert pruning.prune_sweep(session, sweep, PruneRequest(keep_final=False)).deleted == 0
    with pytest.raises(NotFound), database.begin() as session:
        pruning.prune_sweep(session, UUID(int=7), policy)


def test_what_is_marked_is_offered_nowhere_and_its_files_and_row_follow(
    database: Database, owner_id: UUID, artifacts: Path
) -> None:
    run_id = train(database, artifacts, submit(database, owner_id), SUCCEEDED)
    checkpoint_id = id_of(database, run_id, 10)
    delete(database, checkpoint_id)
    assert on_offer(database, run_id) == [20, 30]
    with database.read() as session:
        assert len(results.all_checkpoints(session, limit=10, cursor=None).items) == 2
        with pytest.raises(NotFound):
            results.checkpoint(session, checkpoint_id)
    with pytest.raises(NotFound):
        delete(database, checkpoint_id)
    assert (artifacts / f"runs/{run_id}/e1/step-10").exists()
    assert Remover(database, Artifacts(str(artifacts))).remove_all() == 1
    assert not (artifacts / f"runs/{run_id}/e1/step-10").exists()
    assert (artifacts / f"runs/{run_id}/e1/step-20/sae.safetensors").exists()
    with database.read() as session:
        assert session.get(CheckpointRow, checkpoint_id) is None


class Dying(Artifacts):
    """A store at which the service dies, or which is out of reach, after so many files."""

    def __init__(self, root: str, error: BaseException, after: int) -> None:
        super().__init__(root)
        self._error, self._after = error, after

    def _path(self, folder: str, name: str | None = None) -> str:
        if name is not None:
            self._after -= 1
            if self._after < 0:
                raise self._error
        return super()._path(folder, name)


class Killed(BaseException):
    """As if the process were gone."""


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_deletion_that_was_interrupted_is_taken_up_again(
    database: Database, owner_id: UUID, artifacts: Path, after: int
) -> None:
    run_id = train(database, artifacts, submit(database, owner_id), SUCCEEDED)
    prune(database, run_id)
    with pytest.raises(Killed):
        Remover(database, Dying(str(artifacts), Killed(), after)).remove_all()
    assert on_offer(database, run_id) == [30]
    Remover(database, Artifacts(str(artifacts))).remove_all()
    assert [path.name for path in (artifacts / f"runs/{run_id}/e1").iterdir()] == ["step-30"]
    with database.read() as session:
        assert session.scalars(select(CheckpointRow.step)).all() == [30]


def test_a_store_out_of_reach_leaves_the_mark_for_later(database: Database, owner_id: UUID, artifacts: Path) -> None:
    run_id = train(database, artifacts, submit(database, owner_id), SUCCEEDED)
    prune(database, run_id)
    assert Remover(database, Dying(str(artifacts), Unavailable("away"), 1)).remove_all() == 0
    assert Remover(database, Artifacts(str(artifacts))).remove_all() == 2


def test_of_a_deletion_and_a_retry_at_once_no_run_is_left_without_its_beginning(
    database: Database, owner_id: UUID, artifacts: Path
) -> None:
    run_id = train(database, artifacts, submit(database, owner_id), FAILED)
    newest, new = id_of(database, run_id, 30), []

    def attempt(change: Callable[[Session], object]) -> Callable[[], None]:
        def job() -> None:
            try:
                with database.begin() as session:
                    change(session)
            except Conflict:
                pass

        return job

    run_together(
        attempt(lambda session: new.append(successors.retry(session, run_id, Again()))),
        attempt(lambda session: deletion.mark_one(session, newest)),
    )
    with database.read() as session:
        (begins,) = beginnings(session, new).values()
        assert begins.step in on_offer(database, run_id)
