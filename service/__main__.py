"""`python -m service [serve|migrate|openapi|token]`: serve the API, migrate the database, print the API, see to a token.

Prints nothing secret, but for `token --show`, which is asked for it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from service import logs
from service.api.connections import Connection, raise_descriptor_limit
from service.api.following import Streams
from service.api.openapi import as_text
from service.app import create_app, start
from service.garbage import collect_rarely
from service.settings import Settings, WrongSetting, read_settings
from service.store import schema
from service.store.db import Database
from service.store.local_token import ensure_local_token

_GRACE_SECONDS = 5
_WRONG_SETTING = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, or with a sentence on stderr 1, or 2 where a setting is wrong.

    A supervisor may try again after 1, and need not after 2.
    """
    options = _options(arguments)
    try:
        settings = read_settings()
    except WrongSetting as error:
        return _refuse(str(error), _WRONG_SETTING)
    logs.configure(level=settings.log_level, style=settings.log_format)
    try:
        match options.command:
            case "migrate":
                return _migrate(settings)
            case "openapi":
                sys.stdout.write(as_text(create_app(settings)))
                return 0
            case "token":
                return _token(settings, show=options.show)
        return _serve(settings, options.endpoint_file)
    except OperationalError as error:
        return _refuse(
            f"The database does not answer ({str(error.orig).strip()}); see that it runs and PROLU_DATABASE_URL."
        )
    except ValueError as error:
        return _refuse(str(error), _WRONG_SETTING)
    except OSError as error:
        return _refuse(str(error))


class Server(uvicorn.Server):
    """Writes where it listens, once it does: with port 0 nobody else knows. Ends the streams before it waits for them."""

    def __init__(self, config: uvicorn.Config, endpoint_file: Path | None, streams: Streams) -> None:
        super().__init__(config)
        self._endpoint_file = endpoint_file
        self._streams = streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._endpoint_file is not None and self.started:
            _write_whole(self._endpoint_file, json.dumps({"url": self._url(), "pid": os.getpid()}) + "\n")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._endpoint_file is not None:
            self._endpoint_file.unlink(missing_ok=True)
        self._streams.close()
        await super().shutdown(sockets)

    def _url(self) -> str:
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serving(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    """How uvicorn serves the app."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _serve(settings: Settings, endpoint_file: Path | None) -> int:
    app = create_app(settings)
    try:
        # The app does so too, but what is missing is better said here than in uvicorn's traceback.
        start(app.state.services)
    finally:
        app.state.services.database.dispose()
    raise_descriptor_limit()
    server = Server(serving(app, settings.host, settings.port), endpoint_file, app.state.services.streams)
    collect_rarely()
    server.run()
    return 0 if server.started else 1


def _migrate(settings: Settings) -> int:
    with _opened(settings) as database:
        before = schema.present(database)
        schema.upgrade(database)
        print(f"schema: {before or 'none'} -> {schema.present(database)}")
    return 0


def _token(settings: Settings, *, show: bool) -> int:
    with _opened(settings) as database:
        schema.prepare(database)
        behind = schema.shortcoming(database)
        if behind is not None:
            return _refuse(behind)
        with database.begin() as session:
            ensure_local_token(session, settings)
    print(settings.token_file.read_text().strip() if show else settings.token_file)
    return 0


@contextmanager
def _opened(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database_url)
    try:
        yield database
    finally:
        database.dispose()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m service", description="The prolu service.")
    parser.set_defaults(endpoint_file=None)
    commands = parser.add_subparsers(dest="command")
    serve = commands.add_parser("serve", help="serve the API (the default)")
    for each in (parser, serve):
        each.add_argument(
            "--endpoint-file",
            type=Path,
            default=argparse.SUPPRESS if each is serve else None,
            help='written once the API listens: {"url": ..., "pid": ...}',
        )
    commands.add_parser("migrate", help="bring the database schema to the newest revision")
    commands.add_parser("openapi", help="print the OpenAPI document of the API, sorted; serves nothing")
    token = commands.add_parser(
        "token", help="see that the token file holds a valid administrator's token; print its place"
    )
    token.add_argument("--show", action="store_true", help="print the token itself")
    return parser.parse_args(arguments)


def _write_whole(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}.{uuid4().hex}")
    draft.write_text(text)
    draft.replace(file)


def _refuse(sentence: str, status: int = 1) -> int:
    print(sentence, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
