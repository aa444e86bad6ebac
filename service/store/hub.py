"""What the Hugging Face hub says of a name: whether it is there, and a model's configuration. Small requests, short waits.

The operator's hub token goes to the hub's own address and nowhere else, and into no message.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import httpx

from service.domain.errors import Unavailable
from service.settings import Settings

_TIMEOUT_SECONDS = 5.0
_RETRY_AFTER_SECONDS = 30
_MOST_BYTES = 2_000_000
_ABSENT = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND})


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

    def has(self, kind: Literal["models", "datasets"], name: str, revision: str | None) -> bool:
        """Whether the hub has it and lets the operator see it. Raises Unavailable where the hub does not answer."""
        path = f"/api/{kind}/{quote(name)}"
        if revision is not None:
            path += f"/revision/{quote(revision, safe='')}"
        return self._get(path) is not None

    def config(self, model: str, revision: str | None) -> dict[str, Any] | None:
        """A model's config.json; None where it has none that can be read. Raises Unavailable."""
        content = self._get(f"/{quote(model)}/resolve/{quote(revision or 'main', safe='')}/config.json")
        if content is None:
            return None
        try:
            config = json.loads(content)
        except (ValueError, RecursionError):
            return None
        return config if isinstance(config, dict) else None

    def _get(self, path: str) -> bytes | None:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            # httpx takes Authorization off a redirect to another host.
            with (
                httpx.Client(transport=self.transport, timeout=_TIMEOUT_SECONDS, follow_redirects=True) as client,
                client.stream("GET", self.endpoint + path, headers=headers) as response,
            ):
                if response.status_code in _ABSENT:
                    return None
                if not response.is_success:
                    raise self._unavailable(f"it answered {response.status_code}")
                content = b""
                for piece in response.iter_bytes():
                    content += piece
                    if len(content) > _MOST_BYTES:
                        raise self._unavailable(f"its answer is longer than {_MOST_BYTES} bytes")
                return content
        except httpx.HTTPError as error:
            raise self._unavailable(type(error).__name__) from error

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            f"The Hugging Face hub at {self.endpoint} could not be asked ({why}); try again later, name files below a "
            "data root, or have the operator set PROLU_HUB=trust (believe names) or offline (use what is cached).",
            retry_after_seconds=_RETRY_AFTER_SECONDS,
        )
