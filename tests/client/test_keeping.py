"""What the client says of runs, sweeps and checkpoints, and the autoencoder that it gives of one."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from prolu.client import Client
from prolu.client.errors import Conflict, NoSuchCheckpoint, NotFound
from prolu.client.keeping import Keeping
from prolu.client.wire import KeepBest, RunRead
from prolu.spec import RunSpec, SpecError, validate
from prolu.spec.report import Succeeded
from tests.client.desk import RUN, SWEEP, Desk


def trained(client: Client, desk: Desk) -> UUID:
    run = client.runs.submit(RUN).id
    desk.claim()
    desk.train(run)
    return run


def test_runs_and_sweeps_are_tagged_noted_pinned_and_archived(client: Client, desk: Desk, finished: UUID) -> None:
    run = trained(client, desk)
    for things, identity in ((client.runs, run), (client.sweeps, finished)):
        things.tag(identity, "draft", "paper:figure-3")
        assert things.tag(identity, "baseline", remove=["draft"]).tags == ["baseline", "paper:figure-3"]
        assert things.note(identity, "good").note == "good"
        assert things.note(identity, "").note is None
        assert things.pin(identity).pinned
        assert not things.unpin(identity).pinned
        assert things.archive(identity).archived
        assert identity not in [one.id for one in things.list()]
        assert identity in [one.id for one in things.list(archived=True)]
        assert not things.unarchive(identity).archived
        with pytest.raises(SpecError, match="a tag such as"):
            things.tag(identity, "no tag")
        with pytest.raises(NotFound):
            things.pin(uuid4())


def test_two_who_tag_one_run_at_once_lose_nothing(client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run = client.runs.submit(RUN).id
    keep, met = Keeping._keep, list[int]()

    def meet(things: Keeping[RunRead], *arguments: object, **options: object) -> RunRead:
        if len(met) < 2:
            met.append(1)
            client.runs.change(run, priority=10 + len(met))
        return keep(things, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Keeping, "_keep", meet)
    assert client.runs.tag(run, "mine").tags == ["mine"]
    assert len(met) == 2


def test_what_has_not_ended_is_not_archived(client: Client) -> None:
    with pytest.raises(Conflict, match="archive it once it has ended"):
        client.runs.archive(client.runs.submit(RUN).id)


def test_checkpoints_are_listed_verified_pinned_pruned_and_deleted(client: Client, desk: Desk) -> None:
    run = trained(client, desk)
    last, first = client.checkpoints.list(run=run)
    assert client.checkpoints.list(run=run, final=True) == [last] == client.checkpoints.list(final=True, limit=1)
    assert client.checkpoints.verify(first.id).good
    (desk.artifacts / f"runs/{run}/e1/step-50/config.json").write_text("[]")
    assert [file.state for file in client.checkpoints.verify(first.id).files] == ["altered", "good", "good"]
    assert client.checkpoints.pin(first.id).pinned
    assert client.checkpoints.prune(run=run, keep_final=False, dry_run=True).deleted == 1
    assert not client.checkpoints.unpin(first.id).pinned
    best = KeepBest(metric="fvu")
    assert [one.kept_as for one in client.checkpoints.prune(run=run, keep_best=best).checkpoints] == [
        [],
        ["final", "best"],
    ]
    client.checkpoints.delete(last.id)
    assert client.checkpoints.list(run=run) == []
    with pytest.raises(NotFound):
        client.checkpoints.get(last.id)


def test_a_sweep_is_pruned_or_a_run_and_not_both(client: Client, finished: UUID) -> None:
    pruned = client.checkpoints.prune(sweep=finished, dry_run=True)
    assert (pruned.deleted, pruned.kept) == (3, 3)
    for wrong in ({}, {"run": uuid4(), "sweep": finished}):
        with pytest.raises(ValueError, match="either a run or a sweep"):
            client.checkpoints.prune(**wrong)  # type: ignore[arg-type]


def saved(folder: Path) -> dict[str, bytes]:
    """The files of a checkpoint of a real autoencoder."""
    import torch

    from prolu.models.sae import sae_of
    from prolu.models.saved import CheckpointConfig
    from prolu.training.checkpoint import Checkpoint, CheckpointStore

    torch.manual_seed(0)
    spec = validate(RUN, RunSpec)
    config = CheckpointConfig(spec=spec, d_in=8, step=100, tokens=1000)
    weights = sae_of(spec.sae, 8).state_dict()
    written = CheckpointStore(str(folder), "r").write(Checkpoint(config, weights, {"step": torch.zeros(1)}), final=True)
    return {file.name: (folder / written.path / file.name).read_bytes() for file in written.files}


@pytest.fixture
def real(client: Client, desk: Desk, tmp_path: Path) -> UUID:
    """A run whose last checkpoint is a real autoencoder."""
    run = client.runs.submit(RUN).id
    desk.claim()
    contents = saved(tmp_path / "written")
    desk.report(run, desk.checkpoint(run, 100, final=True, contents=contents), Succeeded(step=100, metrics={}))
    return run


def test_a_checkpoint_is_loaded_as_an_autoencoder_that_encodes(client: Client, real: UUID, tmp_path: Path) -> None:
    import torch

    cache, heard = tmp_path / "cache", list[int]()
    (checkpoint,) = client.checkpoints.list(run=real)
    sae = client.checkpoints.load(real, cache=cache, on_bytes=heard.append)
    assert sae.encode(torch.zeros(3, 8)).shape == (3, 32)
    assert {path.name for path in (cache / str(checkpoint.id)).iterdir()} == {
        "config.json",
        "sae.safetensors",
        "manifest.json",
    }
    downloaded = sum(heard)
    assert 0 < downloaded < checkpoint.bytes  # without what training needs to go on
    for reference in (real, checkpoint.id, checkpoint):
        again = client.checkpoints.load(reference, cache=cache, on_bytes=heard.append)
        assert all(torch.equal(mine, yours) for mine, yours in zip(again.parameters(), sae.parameters(), strict=True))
    assert sum(heard) == downloaded
    assert client.checkpoints.load(real, step=100, cache=cache) is not None
    with pytest.raises(NoSuchCheckpoint, match="no checkpoint at step 7; there are 100"):
        client.checkpoints.load(real, step=7, cache=cache)


def test_a_cache_that_was_altered_is_filled_anew(client: Client, real: UUID, tmp_path: Path) -> None:
    (checkpoint,) = client.checkpoints.list(run=real)
    place = tmp_path / str(checkpoint.id) / "sae.safetensors"
    client.checkpoints.load(real, cache=tmp_path)
    size = place.stat().st_size
    for damage in (os.urandom(size), place.read_bytes()[:-1], None):
        place.unlink() if damage is None else place.write_bytes(damage)
        client.checkpoints.load(real, cache=tmp_path)
        assert place.stat().st_size == size


def test_a_run_without_a_checkpoint_says_so(client: Client) -> None:
    run = client.runs.submit(RUN).id
    with pytest.raises(NoSuchCheckpoint, match="has no checkpoint yet"):
        client.checkpoints.load(run)
    with pytest.raises(NotFound):
        client.checkpoints.load(uuid4())
    assert client.sweeps.submit(SWEEP).tags == []
