"""A client that takes next to nothing of the machine it shares with the service: bytes over persistent connections.

One thread waits for all connections at once. Each sends a request, reads its whole answer and sends the next, so that
no connection ever has more than one request on the way.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks.queue.service import Service

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SILENT_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """An answer, and how long it took from the first byte sent to the last byte read."""

    status: int
    body: bytes
    seconds: float

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Refused(Exception):
    """The service answered with another status than the benchmark counts on."""


def request_bytes(service: Service, method: str, path: str, body: Any = None, *, key: str | None = None) -> bytes:
    """Write a request, ready to be sent."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {service.host}:{service.port}",
        f"Authorization: Bearer {service.token}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
    ]
    if key is not None:
        lines.append(f"Idempotency-Key: {key}")
    return "\r\n".join([*lines, "", ""]).encode() + content


def ask(service: Service, method: str, path: str, body: Any = None, *, status: int = 200) -> Answer:
    """Send one request over a connection of its own."""
    (answer,) = ask_all(service, [request_bytes(service, method, path, body)], connections=1, status=status)
    return answer


def ask_all(
    service: Service,
    requests: Iterable[bytes],
    *,
    connections: int,
    status: int,
    on_answer: Callable[[Answer], None] | None = None,
) -> list[Answer]:
    """Send every request, `connections` of them at a time, and return the answers as they came. Raises Refused."""
    answers: list[Answer] = []
    waiting = iter(requests)
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = _Connection(socket.create_connection((service.host, service.port)))
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if connection.send_next(waiting):
                selector.register(connection.socket, selectors.EVENT_READ, connection)
            else:
                connection.socket.close()
        while selector.get_map():
            ready = selector.select(_SILENT_SECONDS)
            if not ready:
                raise Refused(f"The service was silent for {_SILENT_SECONDS} s.")
            for key, _ in ready:
                connection = key.data
                answer = connection.read()
                if answer is None:
                    continue
                if answer.status != status:
                    raise Refused(f"The service answered {answer.status}: {answer.body[:500]!r}")
                answers.append(answer)
                if on_answer is not None:
                    on_answer(answer)
                if not connection.send_next(waiting):
                    selector.unregister(connection.socket)
                    connection.socket.close()
    return answers


@dataclass
class _Connection:
    socket: socket.socket
    sent_at: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def send_next(self, waiting: Iterator[bytes]) -> bool:
        request = next(waiting, None)
        if request is None:
            return False
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)
        return True

    def read(self) -> Answer | None:
        """Take what has come; an answer once it is whole."""
        piece = self.socket.recv(1 << 20)
        if not piece:
            raise Refused(f"The service hung up after {bytes(self.received[:500])!r}.")
        self.received += piece
        head, found, _ = self.received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if found else None
        if length is None:
            return None
        end = len(head) + 4 + int(length[1])
        if len(self.received) < end:
            return None
        answer = Answer(int(head.split(b" ", 2)[1]), bytes(self.received[len(head) + 4 : end]), self._age())
        self.received.clear()
        return answer

    def _age(self) -> float:
        return time.perf_counter() - self.sent_at
