"""`/v1/results:query`: what all runs found, filtered, sorted, in columns; a page of JSON, or the whole as a file.

A file is made at the speed of the database and sent at that of the client: rows go to a temporary file first, of any length,
so that a client that reads slowly holds a file and no transaction, a failure is an error and not half an answer, and memory is
a batch of rows. Who hangs up meanwhile ends the statement.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import IO, Annotated, Any, Literal

import anyio
from fastapi import APIRouter, BackgroundTasks, Body, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse

from prolu.client.wire import ResultColumn, ResultsPage, ResultsQuery
from prolu.client.wire.querying import MOST_ROWS_OF_A_PAGE
from prolu.spec import Mistake
from service.api.answers import written
from service.api.asking import columns_for, question_of
from service.api.context import Parts, Services, User
from service.api.tables import MEDIA_TYPES, Format, shown, write_arrow, write_csv
from service.domain.errors import Invalid, Unavailable
from service.domain.filters import Column
from service.store import columnar, querying
from service.store.querying import Question
from service.store.stopping import Stop, Stopped

router = APIRouter(prefix="/v1/results", tags=["results"])

_ROWS_OF_A_PAGE = 100
_CHUNK_BYTES = 1 << 18
_LOOK_SECONDS = 0.1
# Files that one process makes at a time: each keeps a thread and a connection busy for some seconds.
_MOST_FILES = 4
_making = threading.BoundedSemaphore(_MOST_FILES)

_EXAMPLES: dict[str, Any] = {
    "frontier": {
        "summary": "Sparse runs that lose little, the best first",
        "value": {
            "filter": 'state = "succeeded" AND spec.sparsity.coefficient < 1e-3 AND metrics.l0 <= 50',
            "order_by": "metrics.fvu",
            "fields": ["id", "name", "spec.sae.*", "metrics.l0", "metrics.fvu", "bias.fraction_negative"],
        },
    }
}


@router.post(
    ":query",
    response_model=ResultsPage,
    operation_id="query_results",
    responses={
        200: {"content": {kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()}},
        413: {},
        415: {},
        503: {},
    },
)
async def query_results(
    body: Annotated[ResultsQuery, Body(openapi_examples=_EXAMPLES)],
    request: Request,
    services: Parts,
    _: User,
    format_: Annotated[
        Literal["json", "csv", "arrow", "parquet"] | None,
        Query(alias="format", description="What the answer is; by default what `Accept` names, or a page of JSON."),
    ] = None,
    accept: Annotated[str, Header(description="Media type of the answer, if `format` does not say it.")] = "",
) -> Response:
    """Rows of runs of which a filter is true, in an order, with the columns asked for: a page of JSON, or all in a file."""
    question = question_of(body.filter, body.order_by, in_body=True)
    columns = columns_for(body.fields)
    wanted = format_ or _named_in(accept)
    if wanted == "json":
        return await run_in_threadpool(_page, services, question, columns, body)
    return await _file(request, services, question, columns, body, wanted)


def _named_in(accept: str) -> Literal["json"] | Format:
    """The first format that a client names among those it accepts; JSON if it names none of ours."""
    for named in accept.lower().split(","):
        for kind, media_type in MEDIA_TYPES.items():
            if named.partition(";")[0].strip() == media_type.partition(";")[0]:
                return kind
    return "json"


def _page(services: Services, question: Question, columns: tuple[Column, ...], body: ResultsQuery) -> Response:
    limit = body.limit or _ROWS_OF_A_PAGE
    if limit > MOST_ROWS_OF_A_PAGE:
        sentence = (
            f"limit is {limit:,}, and a page of JSON has at most {MOST_ROWS_OF_A_PAGE:,} rows; follow next_cursor, or ask for "
            "format=parquet, arrow or csv."
        )
        raise Invalid(sentence, [Mistake(("limit",), sentence)])
    with services.database.read() as session:
        picked = querying.pick(session, question, limit=limit, cursor=body.cursor)
        rows = querying.rows_of(session, picked.ids, columns)
    names = [column.name for column in columns]
    items = [dict(zip(names, map(shown, row), strict=True)) for row in rows]
    told = [ResultColumn.model_validate(column, from_attributes=True) for column in columns]
    return written(ResultsPage(columns=told, items=items, next_cursor=picked.next_cursor))


async def _file(
    request: Request,
    services: Services,
    question: Question,
    columns: tuple[Column, ...],
    body: ResultsQuery,
    kind: Format,
) -> Response:
    stop = Stop()
    question.beyond(body.cursor)  # a wrong cursor is told before anything is begun
    file = tempfile.TemporaryFile()  # noqa: SIM115 closed when it is sent

    def make() -> int:
        asked = (services.database, question, columns)
        if kind == "csv":
            with closing(querying.batches(*asked, limit=body.limit, cursor=body.cursor, stop=stop)) as rows:
                write_csv(file, columns, rows)
        else:
            with closing(columnar.record_batches(*asked, limit=body.limit, cursor=body.cursor, stop=stop)) as batches:
                write_arrow(kind, file, columns, batches)
        return file.tell()

    if not _making.acquire(blocking=False):
        file.close()
        raise Unavailable(f"{_MOST_FILES} tables of results are being written already; try again in a moment.")
    try:
        length = await _unless_gone(request, make, stop)
    except Stopped:
        file.close()
        return Response()  # nobody is there to hear of it
    except BaseException:
        file.close()
        raise
    finally:
        _making.release()
    headers = {"Content-Length": str(length), "Content-Disposition": f'attachment; filename="results.{kind}"'}
    sent = BackgroundTasks()
    sent.add_task(file.close)
    return StreamingResponse(_chunks(file), media_type=MEDIA_TYPES[kind], headers=headers, background=sent)


async def _unless_gone(request: Request, make: Callable[[], int], stop: Stop) -> int:
    """Let a thread make the file, and end it where the client hangs up. Returns how long the file is. Raises Stopped."""
    length, failure = 0, None

    async def watch() -> None:
        while not await request.is_disconnected():
            await anyio.sleep(_LOOK_SECONDS)
        await run_in_threadpool(stop.now)

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        try:
            length = await run_in_threadpool(make)
        except Exception as error:  # raised below, where no group of tasks wraps it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return length


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
