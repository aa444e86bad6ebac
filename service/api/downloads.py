"""`/v1/checkpoints/{id}/download`: the bytes of a checkpoint, whole or from where a client broke off (RFC 9110).

A file's ETag is its sha256, so that a client knows what it has, and a broken download goes on only in the same file.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response, StreamingResponse

from prolu.client.wire import CheckpointRead
from prolu.spec.report import CheckpointFile
from prolu.spec.run import ExportFormat
from service.api.context import Parts, Services, User
from service.domain.errors import Invalid, NotFound
from service.domain.ranges import names_tag, span_asked_for
from service.store import chores, results
from service.store.artifacts import LARGEST_MANIFEST_BYTES, MANIFEST

router = APIRouter(prefix="/v1/checkpoints", tags=["checkpoints"])

File = Annotated[str | None, Query(max_length=300, description="One file of the checkpoint; a zip of all without it.")]
Layout = Annotated[
    ExportFormat | None,
    Query(alias="format", description="The zip of this export alone, as its library reads it."),
]
IfNoneMatch = Annotated[
    str | None,
    Header(description="ETags of files that are at hand, or `*`: if the present one is among them, nothing is sent."),
]
_BYTES: dict[str, Any] = {"application/octet-stream": {}, "application/json": {}, "application/zip": {}}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    304: {"description": "A file with one of these ETags is at hand already."},
    404: {},
    409: {},
}


@router.get(
    "/{checkpoint_id}/download",
    operation_id="download_checkpoint",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The bytes: of one file, whose ETag is its sha256, or of a zip of several.",
            "content": _BYTES,
        },
        206: {"description": "The bytes of the file that `Range` asks for.", "content": _BYTES},
        307: {
            "description": "One file of a store that clients may read by themselves lies at `Location`, for a while."
        },
        **_REFUSALS,
        416: {},
    },
)
def download_checkpoint(
    checkpoint_id: UUID,
    services: Parts,
    _: User,
    file: File = None,
    layout: Layout = None,
    if_none_match: IfNoneMatch = None,
    range_: Annotated[
        str | None,
        Header(alias="Range", description="`bytes=FIRST-LAST`, for a part of one file. Several ranges are ignored."),
    ] = None,
    if_range: Annotated[
        str | None, Header(description="ETag of what is at hand: `Range` counts only if that is still the present one.")
    ] = None,
) -> Response:
    """Download one file, or all files and their manifest, or one export, as an uncompressed zip; streamed either way."""
    checkpoint, folder = _found(services, checkpoint_id, file, layout)
    if file is None:
        return _zip(services, checkpoint, folder, layout)
    if file == MANIFEST:
        return _manifest(services, folder, if_none_match)
    found = _file(checkpoint, file)
    headers = _headers_of(found)
    if names_tag(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    seconds = services.settings.presigned_seconds
    if seconds:
        disposition = headers["Content-Disposition"]
        url = services.artifacts.presigned(folder, found, seconds=seconds, disposition=disposition)
        if url is not None:
            return Response(status_code=307, headers={"Location": url, "Cache-Control": "no-store"})
    span = span_asked_for(range_, found.bytes, if_range=if_range, tag=headers["ETag"])
    pieces = services.artifacts.stream(folder, found, span)
    if span is None:
        length = {"Content-Length": str(found.bytes)}
        return StreamingResponse(pieces, media_type="application/octet-stream", headers=headers | length)
    part = {
        "Content-Length": str(span.length),
        "Content-Range": f"bytes {span.start}-{span.stop - 1}/{found.bytes}",
    }
    return StreamingResponse(pieces, 206, media_type="application/octet-stream", headers=headers | part)


@router.head(
    "/{checkpoint_id}/download",
    operation_id="look_at_download",
    response_class=Response,
    responses={200: {"description": "What GET would send: the file's length and ETag."}, **_REFUSALS},
)
def look_at_download(
    checkpoint_id: UUID,
    services: Parts,
    _: User,
    file: File = None,
    layout: Layout = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Say what a download would send, and that all of it is in the store. The length of a zip is not known before."""
    checkpoint, folder = _found(services, checkpoint_id, file, layout)
    if file is None:
        services.artifacts.require_whole(folder, _contents(checkpoint, layout))
        # A stream, since a Response would say that the zip has no bytes.
        return StreamingResponse(
            iter(()), media_type="application/zip", headers=_saved_as(_zip_name(checkpoint, layout))
        )
    if file == MANIFEST:
        return _manifest(services, folder, if_none_match)
    found = _file(checkpoint, file)
    headers = _headers_of(found)
    if names_tag(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    services.artifacts.require_whole(folder, [found])
    length = {"Content-Length": str(found.bytes)}
    return Response(media_type="application/octet-stream", headers=headers | length)


def _found(
    services: Services, checkpoint_id: UUID, file: str | None, layout: ExportFormat | None
) -> tuple[CheckpointRead, str]:
    """The checkpoint and its folder; of an export that was made on request, with the files and the folder of that alone."""
    if file is not None and layout is not None:
        raise Invalid("A download is one file or one export; got both: give either `file` or `format`.")
    with services.database.read() as session:
        checkpoint, folder = results.checkpoint(session, checkpoint_id)
        library = layout or (file or "").partition("/")[0]
        made = chores.made(session, checkpoint_id, library) if library else None
    if made is None:
        return checkpoint, folder
    return checkpoint.model_copy(update={"files": made.files}), made.folder


def _zip(services: Services, checkpoint: CheckpointRead, folder: str, layout: ExportFormat | None) -> Response:
    more = {} if layout else {MANIFEST: _manifest_of(services, folder)}
    pieces = services.artifacts.stream_zip(
        folder,
        _contents(checkpoint, layout),
        more,
        made_at=checkpoint.created_at,
        without_prefix=f"{layout}/" if layout else "",
    )
    return StreamingResponse(pieces, media_type="application/zip", headers=_saved_as(_zip_name(checkpoint, layout)))


def _manifest(services: Services, folder: str, if_none_match: str | None) -> Response:
    """The manifest has no checksum of its own, and is small: it is read whole, and never in parts."""
    content = _manifest_of(services, folder)
    tag = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
    if names_tag(if_none_match, tag["ETag"]):
        return Response(status_code=304, headers=tag)
    return Response(content, media_type="application/json", headers={**tag, **_saved_as(MANIFEST)})


def _manifest_of(services: Services, folder: str) -> bytes:
    return services.artifacts.read_small(folder, MANIFEST, at_most=LARGEST_MANIFEST_BYTES)


def _contents(checkpoint: CheckpointRead, layout: ExportFormat | None) -> list[CheckpointFile]:
    files = [file for file in checkpoint.files if layout is None or file.name.startswith(f"{layout}/")]
    if not files:
        raise NotFound(
            f"Checkpoint {checkpoint.id} has no {layout} export yet; have it made by POST /v1/checkpoints/{{id}}/exports, "
            f"or `prolu export {checkpoint.id} --format {layout} --remote`."
        )
    return files


def _file(checkpoint: CheckpointRead, name: str) -> CheckpointFile:
    found = next((file for file in checkpoint.files if file.name == name), None)
    if found is None:
        have = ", ".join([*(file.name for file in checkpoint.files), MANIFEST])
        raise NotFound(f"Checkpoint {checkpoint.id} has no file {name[:80]!r}; it has {have}.")
    return found


def _headers_of(file: CheckpointFile) -> dict[str, str]:
    return {"ETag": f'"{file.sha256}"', "Accept-Ranges": "bytes", **_saved_as(file.name)}


def _zip_name(checkpoint: CheckpointRead, layout: ExportFormat | None) -> str:
    return f"{checkpoint.run_id}-step-{checkpoint.step}{f'-{layout}' if layout else ''}.zip"


def _saved_as(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
