"""The dispatcher has chores done beside runs, and a worker makes what was asked for."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from prolu.client.wire import ChoreKind, ChoreRead
from prolu.data.synthetic import SyntheticSource
from prolu.models.saved import load_sae
from prolu.spec.report import BiasSnapshot
from prolu.spec.run import ExportFormat
from prolu.training import CheckpointStore, train
from service.store import chore_work, chores, results
from service.store.models import CheckpointRow
from tests.workers.lab import Lab, checkpoint, progress, spec
from workers.chore import do
from workers.messages import ChoreAnswer, ChoreOrder

FILES = [{"name": "sae_lens/cfg.json", "bytes": 2, "sha256": "0" * 64}]
DONE = ChoreAnswer("done", json.dumps({"files": FILES, "notes": []}))


def ask(lab: Lab, kind: ChoreKind = "export", layout: ExportFormat | None = "sae_lens") -> UUID:
    """Somebody asks for something of the only checkpoint that there is."""
    with lab.database.begin() as session:
        found = session.scalars(select(CheckpointRow.id)).one()
        read, folder = results.checkpoint(session, found)
        return chores.ask(session, read, folder, kind, layout, asked_by=lab.owner_id)[0].id


def found(lab: Lab, chore_id: UUID) -> ChoreRead:
    with lab.database.read() as session:
        return chores.read(session, chore_id)


@pytest.fixture
def chore_id(lab: Lab) -> UUID:
    """An export of the checkpoint of a run that trains on."""
    lab.training()
    lab.say(lambda actor: checkpoint(actor, 5))
    return ask(lab)


def answer(lab: Lab, *answers: ChoreAnswer) -> None:
    lab.cluster.chore_answers = dict(zip(lab.cluster.orders, answers, strict=False))
    lab.tick()


def test_a_chore_is_ordered_heard_and_recorded_though_runs_hold_every_core(lab: Lab, chore_id: UUID) -> None:
    lab.submit()
    lab.submit()
    lab.tick()
    (order,) = lab.cluster.orders.values()
    assert (order.kind, order.format, found(lab, chore_id).state) == ("export", "sae_lens", "running")
    assert order.target == f"exports/{found(lab, chore_id).checkpoint_id}/{chore_id}-e1"
    answer(lab, DONE)
    assert (found(lab, chore_id).state, found(lab, chore_id).files[0].name) == ("succeeded", "sae_lens/cfg.json")


def test_a_chore_that_cannot_be_done_says_why_and_one_whose_worker_was_lost_is_ordered_again(
    lab: Lab, chore_id: UUID
) -> None:
    lab.tick()
    answer(lab, ChoreAnswer("lost", "The worker process died."))
    assert (found(lab, chore_id).state, found(lab, chore_id).message) == ("queued", "The worker process died.")
    with lab.database.begin() as session:
        session.execute(text("UPDATE chores SET not_before = NULL"))
    lab.tick()
    first, second = lab.cluster.orders
    assert (first, second) == (f"chore-{chore_id}-e1", f"chore-{chore_id}-e2")
    lab.cluster.chore_answers = {second: ChoreAnswer("failed", "It cannot be exported.")}
    lab.tick()
    assert (found(lab, chore_id).state, found(lab, chore_id).message) == ("failed", "It cannot be exported.")


def test_an_answer_that_the_database_did_not_take_is_written_later(
    lab: Lab, chore_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.tick()
    lab.cluster.chore_answers = dict.fromkeys(lab.cluster.orders, DONE)
    with monkeypatch.context() as away:
        away.setattr(chore_work, "succeed", unreachable)
        with pytest.raises(OperationalError):
            lab.dispatcher._housekeeper.go_on()
    lab.tick()
    assert found(lab, chore_id).state == "succeeded"
    assert len(lab.cluster.orders) == 1, "it is not done again"


def test_what_was_taken_and_not_ordered_is_taken_again(
    lab: Lab, chore_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(lab.cluster, "order", unreachable)
        with pytest.raises(OperationalError):
            lab.tick(3)
    assert found(lab, chore_id).state == "running"
    lab.tick()
    assert list(lab.cluster.orders) == [f"chore-{chore_id}-e2"]


def test_an_answer_that_no_database_holds_ends_the_chore_and_not_the_turn(lab: Lab, chore_id: UUID) -> None:
    lab.tick()
    answer(lab, ChoreAnswer("failed", "It has a \0 in it."))
    assert (found(lab, chore_id).state, found(lab, chore_id).message) == ("failed", "It has a \ufffd in it.")
    again = ask(lab)
    lab.tick()
    lab.cluster.chore_answers = {f"chore-{again}-e1": ChoreAnswer("done", "{")}
    lab.tick()
    assert found(lab, again).state == "failed"
    assert "cannot be recorded" in str(found(lab, again).message)


def unreachable(*_: object, **__: object) -> None:
    raise OperationalError("COMMIT", {}, OSError("the server went away"))


def test_what_takes_too_long_is_ended_and_told(lab: Lab, chore_id: UUID) -> None:
    lab.tick()
    lab.clock.now += 901
    lab.tick()
    assert lab.cluster.recalled == [f"chore-{chore_id}-e1"]
    assert "more than 900 s" in str(found(lab, chore_id).message)


def test_another_dispatcher_begins_anew_and_the_answer_of_the_first_one_is_refused(lab: Lab, chore_id: UUID) -> None:
    lab.tick()
    first = lab.dispatcher
    lab.succeed()
    lab.tick()
    assert list(lab.cluster.orders) == [f"chore-{chore_id}-e1", f"chore-{chore_id}-e2"]
    lab.cluster.chore_answers = {f"chore-{chore_id}-e1": DONE}
    first._housekeeper._hear()
    assert found(lab, chore_id).state == "running"
    lab.cluster.chore_answers = {f"chore-{chore_id}-e2": DONE}
    lab.tick()
    assert found(lab, chore_id).state == "succeeded"


def test_no_more_are_ordered_at_once_than_the_operator_allows_and_runs_are_heard_all_the_while(
    lab: Lab, chore_id: UUID
) -> None:
    lab.dispatcher = lab.new_dispatcher(chores_at_once=1)
    lab.expire_lead()
    ask(lab, layout="dictionary_learning")
    lab.tick(3)
    assert len(lab.cluster.orders) == 1
    lab.say(progress(7))
    answer(lab, DONE)
    assert len(lab.cluster.orders) == 2


def test_without_a_node_nothing_is_ordered_and_the_chore_tells(lab: Lab, chore_id: UUID) -> None:
    lab.cluster.cpus = 0
    lab.tick(2)
    assert lab.cluster.orders == {}
    assert "waits for a node" in str(found(lab, chore_id).message)
    lab.cluster.cpus = 2
    lab.tick(2)
    assert len(lab.cluster.orders) == 1


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The last checkpoint of a small run, below an artifact root."""
    run = spec(data={"kind": "synthetic", "d_in": 8, "eval_samples": 32}, training={"steps": 10, "batch_size": 16})
    assert run.data.kind == "synthetic"
    store = CheckpointStore(str(tmp_path), "runs/r/e1")
    train(run, SyntheticSource(run.data), checkpoints=store, sink=lambda _: None, should_stop=lambda: None)
    return tmp_path / "runs/r/e1/step-10"


def order(folder: Path, kind: str, layout: str = "") -> ChoreOrder:
    return ChoreOrder(kind, layout, str(folder), "runs/r/e1/step-10", "exports/c/one-e1")


def test_a_worker_writes_an_export_that_has_the_weights_and_leaves_the_checkpoint_as_it_was(
    tmp_path: Path, source: Path
) -> None:
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    told = do(order(tmp_path, "export", "sae_lens"))
    assert told.outcome == "done", told.told
    made = json.loads(told.told)
    assert [file["name"] for file in made["files"]] == ["sae_lens/cfg.json", "sae_lens/sae_weights.safetensors"]
    for file in made["files"]:
        assert (tmp_path / "exports/c/one-e1" / file["name"]).stat().st_size == file["bytes"]
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before
    assert [path.name for path in (tmp_path / "exports/c").iterdir()] == ["one-e1"], "no half-written folder stays"


def test_a_worker_computes_statistics_again_from_the_files_alone(tmp_path: Path, source: Path) -> None:
    told = do(order(tmp_path, "recompute"))
    assert told.outcome == "done", told.told
    snapshot = BiasSnapshot.model_validate_json(told.told)
    biases = load_sae(source).gate_bias
    assert snapshot.statistics.all.fraction_negative == pytest.approx(float((biases < 0).float().mean()))
    assert bool((biases != 0).any())


def test_a_worker_says_what_is_wrong_with_a_damaged_checkpoint_and_what_may_pass(tmp_path: Path, source: Path) -> None:
    weights = source / "sae.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4])
    told = do(order(tmp_path, "export", "sae_lens"))
    assert told.outcome == "failed"
    assert "its manifest says" in told.told
    weights.write_bytes(whole)
    (tmp_path / "in-the-way").touch()
    told = do(order(tmp_path, "export", "sae_lens")._replace(target="in-the-way/one-e1"))
    assert (told.outcome, "Preparing" in told.told) == ("lost", True)
