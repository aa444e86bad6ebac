"""`/v1/checkpoints`: what a checkpoint holds, and its bytes."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse

from prolu.client.wire import CheckpointRead
from prolu.spec.run import ExportFormat
from service.api.context import Parts, User
from service.domain.errors import Invalid, NotFound
from service.store import results
from service.store.artifacts import MANIFEST, Artifacts

router = APIRouter(prefix="/v1/checkpoints", tags=["checkpoints"])


@router.get("/{checkpoint_id}", operation_id="get_checkpoint", responses={404: {}})
def get_checkpoint(checkpoint_id: UUID, services: Parts, _: User) -> CheckpointRead:
    """One checkpoint, its files and their checksums."""
    with services.database.read() as session:
        return results.checkpoint(session, checkpoint_id)[0]


@router.get(
    "/{checkpoint_id}/download",
    operation_id="download_checkpoint",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The bytes: of one file, whose ETag is its sha256, or of a zip of several.",
            "content": {"application/octet-stream": {}, "application/zip": {}},
        },
        304: {"description": "The file with this ETag is at hand already."},
        404: {},
        503: {},
    },
)
def download_checkpoint(
    checkpoint_id: UUID,
    services: Parts,
    _: User,
    file: Annotated[
        str | None, Query(max_length=300, description="One file of the checkpoint; a zip of all without it.")
    ] = None,
    layout: Annotated[
        ExportFormat | None,
        Query(alias="format", description="The zip of this export alone, as its library reads it."),
    ] = None,
    if_none_match: Annotated[str | None, Header(description="ETag of the file that is at hand.")] = None,
) -> Response:
    """Download one file, or all files and their manifest, or one export, as an uncompressed zip; streamed either way."""
    if file is not None and layout is not None:
        raise Invalid("A download is one file or one export; got both: give either `file` or `format`.")
    with services.database.read() as session:
        checkpoint, folder = results.checkpoint(session, checkpoint_id)
    if file is not None:
        return _one_file(services.artifacts, checkpoint, folder, file, if_none_match)
    name, names, prefix = f"{checkpoint.run_id}-step-{checkpoint.step}", [*_names(checkpoint), MANIFEST], ""
    if layout is not None:
        name, names, prefix = f"{name}-{layout}", _exported(checkpoint, layout), f"{layout}/"
    pieces = services.artifacts.stream_zip(folder, names, made_at=checkpoint.created_at, without_prefix=prefix)
    return StreamingResponse(pieces, media_type="application/zip", headers=_saved_as(f"{name}.zip"))


def _names(checkpoint: CheckpointRead) -> list[str]:
    return [file.name for file in checkpoint.files]


def _exported(checkpoint: CheckpointRead, layout: ExportFormat) -> list[str]:
    names = [name for name in _names(checkpoint) if name.startswith(f"{layout}/")]
    if not names:
        raise NotFound(
            f"Checkpoint {checkpoint.id} has no {layout} export: only the last checkpoint of a run has those that its spec "
            f"lists under `exports`. Convert it with `prolu export {checkpoint.id} --format {layout}`."
        )
    return names


def _one_file(artifacts: Artifacts, checkpoint: CheckpointRead, folder: str, name: str, known: str | None) -> Response:
    if name == MANIFEST:
        return StreamingResponse(artifacts.stream(folder, name), media_type="application/json")
    found = next((file for file in checkpoint.files if file.name == name), None)
    if found is None:
        have = ", ".join([*_names(checkpoint), MANIFEST])
        raise NotFound(f"Checkpoint {checkpoint.id} has no file {name[:80]!r}; it has {have}.")
    tag = {"ETag": f'"{found.sha256}"'}
    if known is not None and found.sha256 in known:
        return Response(status_code=304, headers=tag)
    headers = {**tag, **_saved_as(name), "Content-Length": str(found.bytes)}
    return StreamingResponse(artifacts.stream(folder, name), media_type="application/octet-stream", headers=headers)


def _saved_as(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
