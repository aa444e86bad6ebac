"""Whether the dispatcher dispatches: asked of the API, as any client would. Knows nothing of processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import datetime

import httpx
from pydantic import ValidationError

from prolu.client.errors import ProluError
from prolu.client.locate import noted_token
from prolu.client.wire import QueueRead

_ASK_EVERY_SECONDS = 0.5
_TIMEOUT_SECONDS = 2.0


class Dispatching:
    """Whether the dispatcher has given a sign of life since a moment: `Child.ready` of the dispatcher."""

    def __init__(
        self,
        url: str,
        environment: Mapping[str, str],
        *,
        since: datetime,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`environment` says where the token of the service lies."""
        self._url = url
        self._environment = environment
        self._since = since
        self._clock = clock
        self._asked_at = -math.inf

    def __call__(self, _log: str) -> bool:
        """Ask, at most twice a second; between, and while the API gives no answer, it is not known to dispatch."""
        if self._clock() - self._asked_at < _ASK_EVERY_SECONDS:
            return False
        self._asked_at = self._clock()
        seen_at = self._seen_at()
        return seen_at is not None and seen_at > self._since

    def _seen_at(self) -> datetime | None:
        try:
            headers = {"Authorization": f"Bearer {noted_token(self._environment) or ''}"}
            answer = httpx.get(
                f"{self._url}/v1/queue",
                params={"limit": 1},
                headers=headers,
                timeout=_TIMEOUT_SECONDS,
                trust_env=False,
            )
            return QueueRead.model_validate_json(answer.content).dispatcher_seen_at if answer.is_success else None
        except (httpx.TransportError, ValidationError, ProluError):
            return None
