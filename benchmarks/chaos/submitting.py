"""A client that does not give up: each submission has one Idempotency-Key, under which it is sent until it is accepted.

Accepted means that a 201 was read. A connection that broke says nothing: the service may have submitted the work or not,
which the next request under the same key finds out.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from prolu.client.wire import RunCreate, SweepCreate
from prolu.spec import RunSpec, SweepSpec

_TIMEOUT_SECONDS = 20.0
_PAUSE_SECONDS = 0.2
_PATIENCE_SECONDS = 240.0
# So often a client asks again although it was answered, as one does that lost the answer.
_REPEATED = 0.3


class Refused(Exception):
    """The service said no to work that is in order, or did not answer for minutes."""


@dataclass
class Submissions:
    """What was accepted, and how often it had to be sent. Each submission has a thread of its own."""

    url: str
    token: str
    chance: random.Random
    accepted: list[dict[str, Any]] = field(default_factory=list)
    """The answers, in the order in which they came."""
    sent: int = 0
    """Requests, repeated ones included."""
    problems: list[Exception] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def submit(self, spec: RunSpec | SweepSpec) -> None:
        """Begin to submit; `finish` waits for all that were begun."""
        path, body = (
            ("/v1/runs", RunCreate(spec=spec).model_dump_json(exclude_unset=True))
            if isinstance(spec, RunSpec)
            else (
                "/v1/sweeps",
                SweepCreate(spec=spec, tier="low", preemptible=True).model_dump_json(exclude_unset=True),
            )
        )
        again = self.chance.random() < _REPEATED
        thread = threading.Thread(target=self._submit, args=(path, body, again), daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def pending(self) -> bool:
        """Whether a submission is not answered yet."""
        return any(thread.is_alive() for thread in self._threads)

    def _submit(self, path: str, body: str, again: bool) -> None:
        key = str(uuid4())
        try:
            answer = self._post(path, body, key)
            if again and (repeated := self._post(path, body, key)) != answer:
                raise Refused(f"The same key was answered twice, and differently: {answer['id']}, {repeated['id']}.")
        except (Refused, ValueError) as error:
            self.problems.append(error)
            return
        self.accepted.append(answer)

    def _post(self, path: str, body: str, key: str) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Idempotency-Key": key,
            "Content-Type": "application/json",
        }
        deadline = time.monotonic() + _PATIENCE_SECONDS
        last = ""
        while time.monotonic() < deadline:
            self.sent += 1
            try:
                answer = httpx.post(
                    self.url + path, content=body, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False
                )
            except httpx.TransportError as error:
                last = repr(error)
            else:
                if answer.status_code == httpx.codes.CREATED:
                    return dict(answer.json())
                last = f"{answer.status_code} {answer.text[:300]}"
                if answer.is_client_error and answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                    raise Refused(last)
            time.sleep(_PAUSE_SECONDS)
        raise Refused(f"No answer for {_PATIENCE_SECONDS:g} s, at last: {last}")
