"""Read the files of a checkpoint and compare them with what was written. A few at once, so that downloads are not held up."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from prolu.client.wire import CheckpointRead, FileVerdict, VerifyRead
from prolu.spec.report import CheckpointFile
from service.domain.errors import Damaged, NotFound, Unavailable
from service.store.artifacts import LARGEST_MANIFEST_BYTES, MANIFEST, Artifacts

_LATER_SECONDS = 10


def verify(artifacts: Artifacts, checkpoint: CheckpointRead, folder: str) -> VerifyRead:
    """Say of each file whether it is what was written. Raises Unavailable where the store fails, or too many verify at once."""
    if not artifacts.verifying.acquire(blocking=False):
        raise Unavailable("Other checkpoints are being verified just now; try again.", _LATER_SECONDS)
    try:
        files = [_of_file(artifacts, folder, file) for file in checkpoint.files]
        files.append(_of_manifest(artifacts, folder, checkpoint.files))
    finally:
        artifacts.verifying.release()
    return VerifyRead(checkpoint_id=checkpoint.id, good=all(file.state == "good" for file in files), files=files)


def _of_file(artifacts: Artifacts, folder: str, file: CheckpointFile) -> FileVerdict:
    try:
        size = artifacts.size_of(folder, file.name)
        if size != file.bytes:
            state = "shorter" if size < file.bytes else "longer"
            return FileVerdict(name=file.name, state=state, bytes=size, sha256=None)
        checksum = hashlib.sha256()
        for piece in artifacts.stream(folder, file):
            checksum.update(piece)
    except NotFound:
        return FileVerdict(name=file.name, state="missing", bytes=None, sha256=None)
    sha256 = checksum.hexdigest()
    state = "good" if sha256 == file.sha256 else "altered"
    return FileVerdict(name=file.name, state=state, bytes=size, sha256=sha256)


def _of_manifest(artifacts: Artifacts, folder: str, files: Sequence[CheckpointFile]) -> FileVerdict:
    """The manifest has no checksum of its own; it must list the same files."""
    try:
        content = artifacts.read_small(folder, MANIFEST, at_most=LARGEST_MANIFEST_BYTES)
    except NotFound:
        return FileVerdict(name=MANIFEST, state="missing", bytes=None, sha256=None)
    except Damaged:
        return FileVerdict(name=MANIFEST, state="longer", bytes=None, sha256=None)
    try:
        listed = _Manifest.model_validate_json(content).files
    except ValidationError:
        listed = []
    state = "good" if sorted(listed, key=_name) == sorted(files, key=_name) else "altered"
    return FileVerdict(name=MANIFEST, state=state, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


class _Manifest(BaseModel):
    """The part of manifest.json that vouches for files."""

    files: list[CheckpointFile]


def _name(file: CheckpointFile) -> str:
    return file.name
