"""`client.checkpoints`: the weights, and the proof that they arrived whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath

from pydantic import BaseModel, ValidationError

from prolu.client.downloads import fetch, only_here
from prolu.client.errors import ApiError, ConnectionFailed, DownloadFailed
from prolu.client.http import Http, path_id
from prolu.client.runs import Identity
from prolu.client.wire import CheckpointRead
from prolu.spec.report import CheckpointFile
from prolu.spec.run import ExportFormat

_MANIFEST = "manifest.json"
_LARGEST_MANIFEST_BYTES = 1_000_000


class Checkpoints:
    """Checkpoints of the runs that you may see."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def get(self, checkpoint: Identity) -> CheckpointRead:
        """One checkpoint and its files. Raises NotFound."""
        return self._http.get(f"/v1/checkpoints/{path_id(checkpoint)}", CheckpointRead)

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
        """
        found = checkpoint if isinstance(checkpoint, CheckpointRead) else self.get(checkpoint)
        target = Path(directory)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise DownloadFailed(f"{target} exists already; name a new or an empty folder.")
        wanted = files_of(found, layout)
        prefix = "" if layout is None else f"{layout}/"
        for file in wanted:
            _check_name(file.name.removeprefix(prefix))
        draft = target.parent / f".{target.name}-{found.id}{f'-{layout}' if layout else ''}.partial"
        draft.mkdir(parents=True, exist_ok=True)
        with only_here(draft):
            try:
                for file in wanted:
                    fetch(self._http, found.id, file, draft / file.name.removeprefix(prefix), on_bytes)
                if layout is None:
                    self._fetch_manifest(found, draft / _MANIFEST)
                draft.replace(target)
            except ConnectionFailed as error:
                raise ConnectionFailed(
                    f"{error} What has come is kept: the same download goes on from there."
                ) from error
            except (DownloadFailed, ApiError):
                shutil.rmtree(draft, ignore_errors=True)
                raise
        return target

    def _fetch_manifest(self, checkpoint: CheckpointRead, path: Path) -> None:
        """The manifest has no checksum of its own; it must say what the service said."""
        content = bytearray()
        with self._http.stream(f"/v1/checkpoints/{checkpoint.id}/download", {"file": _MANIFEST}) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > _LARGEST_MANIFEST_BYTES:
                    break
        try:
            listed = _Manifest.model_validate_json(content).files
        except ValidationError:
            listed = []
        if sorted(listed, key=str) != sorted(checkpoint.files, key=str):
            raise DownloadFailed(
                f"{_MANIFEST} of checkpoint {checkpoint.id} does not list the files that the service announced; "
                "nothing was kept, try again."
            )
        path.write_bytes(content)


def files_of(checkpoint: CheckpointRead, layout: ExportFormat | None) -> list[CheckpointFile]:
    """Return all files of a checkpoint, or those of one export. Raises DownloadFailed if it has no such export."""
    if layout is None:
        return checkpoint.files
    files = [file for file in checkpoint.files if file.name.startswith(f"{layout}/")]
    if not files:
        raise DownloadFailed(
            f"Checkpoint {checkpoint.id} at step {checkpoint.step} has no {layout} export: only the last checkpoint of a run has "
            f"those that its spec lists under `exports`. Convert it with `prolu export {checkpoint.id} --format {layout}`."
        )
    return files


class _Manifest(BaseModel):
    """The part of manifest.json that vouches for files."""

    files: list[CheckpointFile]


def _check_name(name: str) -> None:
    """Refuse names that would be written elsewhere than below the folder, on any operating system."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if not path.parts or path.is_absolute() or path.anchor or ".." in path.parts:
            raise DownloadFailed(f"The service names a file {name!r}, which leads out of the folder; nothing was kept.")
