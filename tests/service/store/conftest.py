"""A hub that answers over HTTP, and a place to look names up in."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from service.store.hub import Hub
from service.store.surroundings import Surroundings
from tests.service.store.named import TOKEN, FakeHub


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    fake = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked.append((self.path, self.headers["Authorization"]))
            status, body = fake.answers.get(self.path, (404, {"error": "Repository not found"}))
            self.send_response(status)
            if status == 307:
                self.send_header("Location", body)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def where(tmp_path: Path, hub: FakeHub) -> Surroundings:
    root = tmp_path / "data"
    root.mkdir()
    return Surroundings(
        data_roots=(root,),
        hub_mode="check",
        hub_cache=tmp_path / "cache",
        hub=Hub(hub.url, TOKEN),
        one_machine=True,
    )
