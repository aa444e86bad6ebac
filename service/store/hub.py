"""What the Hugging Face hub says of a name: whether it is there, and a model's configuration. Small requests, short waits.

All questions of one submission share a few seconds and ask about each thing once: whoever submits waits for the
answer. The operator's hub token goes to the hub's own address and nowhere else, and into no message.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import httpx

from service.settings import Settings

_SECONDS_IN_ALL = 5.0
_MOST_BYTES = 2_000_000
_ABSENT = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND})


class HubSilent(Exception):
    """The hub did not say whether it has something; the text says how it failed."""


@dataclass(frozen=True)
class Hub:
    """The hub, by way of `transport` in tests."""

    endpoint: str
    token: str | None
    transport: httpx.BaseTransport | None = None

    @classmethod
    def of(cls, settings: Settings, transport: httpx.BaseTransport | None = None) -> Hub:
        """The hub that the operator's settings name."""
        token = settings.hub_token.get_secret_value() if settings.hub_token else None
        return cls(settings.hub_endpoint.rstrip("/"), token, transport)

    def asking(self, clock: Callable[[], float] = time.monotonic) -> Asking:
        """Begin the questions of one submission."""
        return Asking(self, clock, clock() + _SECONDS_IN_ALL)


@dataclass
class Asking:
    """The questions of one submission, which share one deadline and one memory."""

    hub: Hub
    clock: Callable[[], float]
    deadline: float
    _answers: dict[str, bytes | HubSilent | None] = field(default_factory=dict)

    def has(self, kind: Literal["models", "datasets"], name: str, revision: str | None) -> bool:
        """Whether the hub has it and lets the operator see it. Raises HubSilent where the hub does not answer."""
        path = f"/api/{kind}/{quote(name)}"
        if revision is not None:
            path += f"/revision/{quote(revision, safe='')}"
        return self._get(path) is not None

    def config(self, model: str, revision: str | None) -> dict[str, Any] | None:
        """A model's config.json; None where it has none that can be read. Raises HubSilent."""
        content = self._get(f"/{quote(model)}/resolve/{quote(revision or 'main', safe='')}/config.json")
        if content is None:
            return None
        try:
            config = json.loads(content)
        except (ValueError, RecursionError):
            return None
        return config if isinstance(config, dict) else None

    def _get(self, path: str) -> bytes | None:
        if path not in self._answers:
            try:
                self._answers[path] = self._ask(path)
            except HubSilent as silence:
                self._answers[path] = silence
        answer = self._answers[path]
        if isinstance(answer, HubSilent):
            raise answer
        return answer

    def _ask(self, path: str) -> bytes | None:
        headers = {"Authorization": f"Bearer {self.hub.token}"} if self.hub.token else {}
        half = self._left() / 2  # for connecting, and again for each wait for bytes
        try:
            # httpx takes Authorization off a redirect to another host.
            with (
                httpx.Client(transport=self.hub.transport, timeout=half, follow_redirects=True) as client,
                client.stream("GET", self.hub.endpoint + path, headers=headers) as response,
            ):
                if response.status_code in _ABSENT:
                    return None
                if not response.is_success:
                    raise self._silent(f"answered {response.status_code}")
                content = b""
                for piece in response.iter_bytes():
                    content += piece
                    self._left()
                    if len(content) > _MOST_BYTES:
                        raise self._silent(f"gave an answer longer than {_MOST_BYTES} bytes")
                return content
        except httpx.HTTPError as error:
            raise self._silent(f"could not be reached ({type(error).__name__})") from error

    def _left(self) -> float:
        left = self.deadline - self.clock()
        if left <= 0:
            raise self._silent(f"did not answer all questions within {_SECONDS_IN_ALL:g} s")
        return left

    def _silent(self, why: str) -> HubSilent:
        return HubSilent(f"the Hugging Face hub at {self.hub.endpoint} {why}")
