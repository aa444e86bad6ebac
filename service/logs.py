"""How the service logs: one line per event to stderr, as text or JSON, with everything that looks like a token masked."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from prolu.spec.masking import masked


def configure(*, level: str, style: str) -> None:
    """Set up structlog and the standard library's logging, whose lines (uvicorn's, Alembic's) look the same.

    Every line carries what is bound where it is logged: `request_id` in the API, `run_id` and `epoch` within `about`.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_secrets,
    ]
    shown: Any = structlog.processors.JSONRenderer() if style == "json" else structlog.dev.ConsoleRenderer(colors=False)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, shown],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpcore", "alembic", "botocore", "aiobotocore", "s3fs", "fsspec"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    # Past the standard library: the service writes a line for every request.
    structlog.configure(
        processors=[*shared, shown],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


@contextmanager
def about(run_id: object, epoch: int) -> Iterator[None]:
    """Have every line that is logged within carry the run and the attempt that it is about, whoever logs it."""
    with structlog.contextvars.bound_contextvars(run_id=str(run_id), epoch=epoch):
        yield


def mask_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace tokens, and user and password in URLs, wherever they stand in an event's text."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = masked(value)
    return event
