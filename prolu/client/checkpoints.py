"""`client.checkpoints`: the weights, and the proof that they arrived whole."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from prolu.client.chores import Chores
from prolu.client.downloads import are_whole, fetch, only_here
from prolu.client.errors import (
    ApiError,
    ConnectionFailed,
    DownloadFailed,
    NoSuchCheckpoint,
    NotFound,
    UnreadableAnswer,
)
from prolu.client.http import Http, path_id
from prolu.client.hub import Pushed, check_repository, model_card, push_folder
from prolu.client.manifests import check_name, fetch_manifest
from prolu.client.records import MissingPackage
from prolu.client.runs import Identity
from prolu.client.wire import (
    BiasSnapshotRead,
    CheckpointPatch,
    CheckpointRead,
    ChoreRead,
    KeepBest,
    PruneRead,
    PruneRequest,
    RunRead,
    VerifyRead,
)
from prolu.spec import validate
from prolu.spec.report import CheckpointFile
from prolu.spec.run import ExportFormat

# All that an autoencoder is: not what training needs to go on, nor exports.
_WEIGHTS = frozenset({"config.json", "sae.safetensors"})
# A service reads a few hundred megabytes a second.
_VERIFYING_SECONDS = 900.0


class Checkpoints:
    """Checkpoints of the runs that you may see."""

    def __init__(self, http: Http, chores: Chores) -> None:
        self._http = http
        self._chores = chores

    def get(self, checkpoint: Identity) -> CheckpointRead:
        """One checkpoint and its files. Raises NotFound.

        Example: `[file.name for file in client.checkpoints.get(checkpoint.id).files]`.
        """
        return self._http.get(f"/v1/checkpoints/{path_id(checkpoint)}", CheckpointRead)

    def list(
        self,
        *,
        run: Identity | None = None,
        sweep: Identity | None = None,
        final: bool | None = None,
        pinned: bool | None = None,
        limit: int | None = None,
    ) -> builtins.list[CheckpointRead]:
        """Checkpoints of all runs, of one, or of a sweep's, the newest first; all of them unless `limit` says how many.

        Example: `client.checkpoints.list(sweep=sweep.id, final=True)` are the finished autoencoders of a sweep.
        """
        params = {
            "run_id": None if run is None else path_id(run),
            "sweep_id": None if sweep is None else path_id(sweep),
            "final": _flag(final),
            "pinned": _flag(pinned),
        }
        return [*self._http.pages("/v1/checkpoints", CheckpointRead, params, limit)]

    def find(self, reference: Identity, *, step: int | None = None) -> CheckpointRead:
        """The checkpoint of that id; or of the run of that id its last one, or the one at `step`.

        Raises NotFound, NoSuchCheckpoint if the run has none there.

        Example: `client.checkpoints.find(run.id, step=50)`.
        """
        if step is None:
            with contextlib.suppress(NotFound):
                return self.get(reference)
        path = f"/v1/runs/{path_id(reference)}/checkpoints"
        return choose(reference, [*self._http.pages(path, CheckpointRead)], step)

    def verify(self, checkpoint: Identity) -> VerifyRead:
        """Have the service read every file and compare it with its checksum; the answer says which differs. Raises NotFound.

        Example: `client.checkpoints.verify(checkpoint.id).good`.
        """
        path = f"/v1/checkpoints/{path_id(checkpoint)}:verify"
        return self._http.post(path, VerifyRead, timeout_seconds=_VERIFYING_SECONDS)

    def pin(self, checkpoint: Identity) -> CheckpointRead:
        """Keep it whatever a policy of deletion says. Raises Forbidden, NotFound.

        Example: `client.checkpoints.pin(checkpoint.id)`.
        """
        return self._change(checkpoint, pinned=True)

    def unpin(self, checkpoint: Identity) -> CheckpointRead:
        """Leave it to policies of deletion again. Raises Forbidden, NotFound.

        Example: `client.checkpoints.unpin(checkpoint.id)`.
        """
        return self._change(checkpoint, pinned=False)

    def delete(self, checkpoint: Identity) -> None:
        """Delete it, for ever. Raises Conflict if it is pinned or a run goes on from it, Forbidden, NotFound.

        Example: `client.checkpoints.delete(checkpoint.id)`.
        """
        self._http.delete(f"/v1/checkpoints/{path_id(checkpoint)}")

    def prune(
        self,
        *,
        run: Identity | None = None,
        sweep: Identity | None = None,
        keep_last: int = 0,
        keep_best: KeepBest | None = None,
        keep_final: bool = True,
        dry_run: bool = False,
    ) -> PruneRead:
        """Delete the checkpoints of a run, or of all runs of a sweep, that no rule keeps; the answer tells why each stays.

        What is pinned stays, and what a run goes on from, would if it were tried again, or began with. Of a sweep, the best are
        those of all its runs together. Raises ValueError unless it is one run or one sweep, SpecError, Conflict, Forbidden,
        Invalid, NotFound.

        Example: `client.checkpoints.prune(sweep=sweep.id, keep_best=KeepBest(metric="fvu", count=3), dry_run=True)`.
        """
        if (run is None) == (sweep is None):
            raise ValueError("prune takes either a run or a sweep; name one of them.")
        of = f"/v1/sweeps/{path_id(sweep)}" if sweep is not None else f"/v1/runs/{path_id(run or '')}"
        body = validate(
            {"keep_last": keep_last, "keep_best": keep_best, "keep_final": keep_final, "dry_run": dry_run}, PruneRequest
        )
        return self._http.post(f"{of}:prune", PruneRead, body)

    def load(
        self,
        reference: Identity | CheckpointRead,
        *,
        step: int | None = None,
        cache: str | Path | None = None,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> Any:
        """Return the trained autoencoder, a `torch.nn.Module` (`prolu.models.sae.Sae`), ready to encode and decode.

        `reference` is a checkpoint's id, or a run's: then it is the run's last one, or the one at `step`. Only the weights and
        their config are downloaded, into `cache` (by default the user's cache folder), where they stay; they are verified each
        time. Raises MissingPackage without torch, NotFound, NoSuchCheckpoint, ConnectionFailed, DownloadFailed, and
        `prolu.models.saved.CheckpointError` where they are not an autoencoder of this version.

        Example:

            sae = client.checkpoints.load(run.id)
            acts = sae.encode(x)                            # x: (rows, d_in), as it was trained on
        """
        load_sae = _torch_loader()
        found = reference if isinstance(reference, CheckpointRead) else self.find(reference, step=step)
        kept = Path(cache) if cache is not None else user_cache_path("prolu") / "checkpoints"
        folder = kept.expanduser() / str(found.id)
        needed = [file for file in found.files if file.name in _WEIGHTS]
        if folder.is_dir() and not are_whole(needed, folder):
            shutil.rmtree(folder)
        if not folder.is_dir():
            self._bring(found, needed, folder, "", on_bytes, patient=True)
        return load_sae(folder)

    def download(
        self,
        checkpoint: Identity | CheckpointRead,
        directory: str | Path,
        *,
        layout: ExportFormat | None = None,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> Path:
        """Download every file and the manifest into `directory`, which appears whole or not at all; return it.

        A file whose connection breaks goes on where it stopped; if the service stays away, so does the same call later, by
        what it kept in a hidden folder beside `directory`.

        With `layout`, the files of that export alone, as its library reads them. `on_bytes` hears how many bytes each piece had.
        Raises ConnectionFailed, and DownloadFailed if the directory has something in it, the checkpoint has no such export, a
        file's name leads out of the directory, a file differs from its checksum, or the manifest from the announced files.

        Example: `client.checkpoints.download(checkpoint.id, "weights")`.
        """
        found = checkpoint if isinstance(checkpoint, CheckpointRead) else self.get(checkpoint)
        target = _new_folder(directory)
        prefix = "" if layout is None else f"{layout}/"
        return self._bring(found, files_of(found, layout), target, prefix, on_bytes)

    def export(
        self,
        checkpoint: Identity | CheckpointRead,
        directory: str | Path,
        *,
        layout: ExportFormat = "sae_lens",
        timeout: float | None = None,
        on_look: Callable[[ChoreRead], None] = lambda _chore: None,
    ) -> ChoreRead:
        """Have the service convert a checkpoint for another library, wait, and download that into `directory`.

        Nothing of it needs torch here. An export that was made before, for anybody, is downloaded at once. The answer's `notes`
        say what that layout cannot hold. Raises ChoreFailed, WaitedTooLong after `timeout` seconds, and as `download` does.

        Example: `client.checkpoints.export(checkpoint.id, "for-saelens")`, then `SAE.load_from_disk("for-saelens")`.
        """
        target = _new_folder(directory)
        found = checkpoint if isinstance(checkpoint, CheckpointRead) else self.get(checkpoint)
        made = self._chores.wait(self._chores.export(found.id, layout=layout), timeout=timeout, on_look=on_look)
        self._bring(found, made.files, target, f"{layout}/", lambda _count: None)
        return made

    def recompute(
        self,
        checkpoint: Identity | CheckpointRead,
        *,
        timeout: float | None = None,
        on_look: Callable[[ChoreRead], None] = lambda _chore: None,
    ) -> BiasSnapshotRead:
        """Have the service compute the bias statistics of a checkpoint again, from its files alone, and wait for them.

        Raises ChoreFailed, WaitedTooLong after `timeout` seconds, Conflict, Forbidden, NotFound.

        Example: `client.checkpoints.recompute(checkpoint.id).statistics.all.fraction_negative`.
        """
        identity = checkpoint.id if isinstance(checkpoint, CheckpointRead) else checkpoint
        made = self._chores.wait(self._chores.recompute(identity), timeout=timeout, on_look=on_look)
        if made.snapshot is None:
            raise UnreadableAnswer(
                f"Chore {made.id} is done and has no statistics; use a client of the service's version."
            )
        return made.snapshot

    def push(
        self,
        reference: Identity | CheckpointRead,
        repo_id: str,
        *,
        step: int | None = None,
        layout: ExportFormat | None = None,
        path: str = "",
        private: bool | None = None,
        message: str | None = None,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> Pushed:
        """Push the weights of a checkpoint and a model card to a repository of the Hugging Face hub, in one commit.

        `reference` is as for `load`. It goes in our own layout, or with `layout` in another library's, into the folder `path` of
        the repository, which is made where there is none: `private`, or as the hub decides. Files are verified when they have
        come here, and again by what the hub says it holds. Token and address are those of huggingface_hub: HF_TOKEN, HF_ENDPOINT.
        Raises MissingPackage, PushFailed, and as `download` and `export` do.

        Example: `client.checkpoints.push(run.id, "our-lab/sae-layer-6", private=True)`.
        """
        check_repository(repo_id)
        if path:
            check_name(path)
        found = reference if isinstance(reference, CheckpointRead) else self.find(reference, step=step)
        run = self._http.get(f"/v1/runs/{found.run_id}", RunRead)
        with tempfile.TemporaryDirectory(prefix="prolu-") as scratch:
            folder = Path(scratch, "checkpoint")
            if layout is None:
                self._bring(found, [file for file in found.files if file.name in _WEIGHTS], folder, "", on_bytes)
            elif any(file.name.startswith(f"{layout}/") for file in found.files):
                self.download(found, folder, layout=layout, on_bytes=on_bytes)
            else:
                self.export(found, folder, layout=layout)
            card = model_card(run, found, repo_id, layout=layout, path=path)
            said = message or f"Add the checkpoint of run {run.id} at step {found.step}"
            return push_folder(folder, card, repo_id, path=path, private=private, message=said)

    def _bring(
        self,
        found: CheckpointRead,
        wanted: Sequence[CheckpointFile],
        target: Path,
        prefix: str,
        on_bytes: Callable[[int], None],
        *,
        patient: bool = False,
    ) -> Path:
        """Download files and, unless they are an export, the manifest. `patient` waits for another process that does the same."""
        for file in wanted:
            check_name(file.name.removeprefix(prefix))
        draft = target.parent / f".{target.name}-{found.id}{f'-{prefix[:-1]}' if prefix else ''}.partial"
        draft.mkdir(parents=True, exist_ok=True)
        with only_here(draft, patient=patient):
            if patient and target.is_dir():
                return target
            try:
                for file in wanted:
                    fetch(self._http, found.id, file, draft / file.name.removeprefix(prefix), on_bytes)
                if not prefix:
                    fetch_manifest(self._http, found, draft)
                draft.replace(target)
            except ConnectionFailed as error:
                raise ConnectionFailed(
                    f"{error} What has come is kept: the same download goes on from there."
                ) from error
            except (DownloadFailed, ApiError):
                shutil.rmtree(draft, ignore_errors=True)
                raise
        return target

    def _change(self, checkpoint: Identity, *, pinned: bool) -> CheckpointRead:
        return self._http.patch(
            f"/v1/checkpoints/{path_id(checkpoint)}", CheckpointRead, CheckpointPatch(pinned=pinned)
        )


def choose(run: Identity, checkpoints: Sequence[CheckpointRead], step: int | None) -> CheckpointRead:
    """Return a run's checkpoint at a step, or its last one; of the latest attempt that wrote it. Raises NoSuchCheckpoint."""
    if not checkpoints:
        raise NoSuchCheckpoint(f"Run {run} has no checkpoint yet; wait for the first one.")
    fitting = [checkpoint for checkpoint in checkpoints if step is None or checkpoint.step == step]
    if not fitting:
        there = ", ".join(str(known) for known in sorted({checkpoint.step for checkpoint in checkpoints}))
        raise NoSuchCheckpoint(f"Run {run} has no checkpoint at step {step}; there are {there}.")
    return max(fitting, key=lambda checkpoint: (checkpoint.step, checkpoint.epoch))


def files_of(checkpoint: CheckpointRead, layout: ExportFormat | None) -> list[CheckpointFile]:
    """Return all files of a checkpoint, or those of one export. Raises DownloadFailed if it has no such export."""
    if layout is None:
        return checkpoint.files
    files = [file for file in checkpoint.files if file.name.startswith(f"{layout}/")]
    if not files:
        raise DownloadFailed(
            f"Checkpoint {checkpoint.id} at step {checkpoint.step} has no {layout} export of its run; have it made with "
            f"`prolu export {checkpoint.id} --format {layout} --remote`, or convert it here without `--remote`."
        )
    return files


def _new_folder(directory: str | Path) -> Path:
    target = Path(directory)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DownloadFailed(f"{target} exists already; name a new or an empty folder.")
    return target


def _flag(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()


def _torch_loader() -> Callable[[Path], Any]:
    """What reads weights; looked up when it is needed, since the light client knows no torch. Raises MissingPackage."""
    if importlib.util.find_spec("torch") is None:
        raise MissingPackage(
            "Weights need torch, which is not installed; run pip install 'prolu[train]', or download the files."
        )
    load_sae: Callable[[Path], Any] = importlib.import_module("prolu.models.saved").load_sae
    return load_sae
