"""What a service says of the files of a checkpoint is checked before it is believed: their names, and their list."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from pydantic import BaseModel, ValidationError

from prolu.client.errors import DownloadFailed
from prolu.client.http import Http
from prolu.client.wire import CheckpointRead
from prolu.spec.report import CheckpointFile

_NAME = "manifest.json"
_LARGEST_BYTES = 1_000_000


class _Manifest(BaseModel):
    """The part of manifest.json that vouches for files."""

    files: list[CheckpointFile]


def fetch_manifest(http: Http, checkpoint: CheckpointRead, folder: Path) -> None:
    """Bring the manifest. It has no checksum of its own; it must say what the service said. Raises DownloadFailed."""
    content = bytearray()
    with http.stream(f"/v1/checkpoints/{checkpoint.id}/download", {"file": _NAME}) as response:
        for piece in response.iter_bytes():
            content += piece
            if len(content) > _LARGEST_BYTES:
                break
    try:
        listed = _Manifest.model_validate_json(content).files
    except ValidationError:
        listed = []
    if sorted(listed, key=str) != sorted(checkpoint.files, key=str):
        raise DownloadFailed(
            f"{_NAME} of checkpoint {checkpoint.id} does not list the files that the service announced; "
            "nothing was kept, try again."
        )
    (folder / _NAME).write_bytes(content)


def check_name(name: str) -> None:
    """Refuse names that would be written elsewhere than below the folder, on any operating system. Raises DownloadFailed."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if not path.parts or path.is_absolute() or path.anchor or ".." in path.parts:
            raise DownloadFailed(f"The service names a file {name!r}, which leads out of the folder; nothing was kept.")
