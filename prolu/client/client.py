"""The way to the service from Python.

    from prolu.client import Client

    with Client() as client:                        # finds the service that `prolu up` runs, or PROLU_URL and PROLU_TOKEN
        sweep = client.sweeps.submit(spec)
        client.sweeps.wait(sweep.id)
        client.sweeps.results(sweep.id).to_parquet("results.parquet")

What can go wrong is drawn in `prolu.client.errors`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import httpx

from prolu.client.audit import Audit
from prolu.client.checkpoints import Checkpoints
from prolu.client.chores import Chores
from prolu.client.http import Http
from prolu.client.locate import locate
from prolu.client.nodes import Nodes
from prolu.client.questions import Questions
from prolu.client.runs import Identity, Runs
from prolu.client.sweeps import Sweeps
from prolu.client.tokens import Tokens
from prolu.client.trackers import Exported, Tracker
from prolu.client.trackers.exporting import export
from prolu.client.users import Users
from prolu.client.wire import MeRead, QueueRead, SharesRead, VersionRead


class Client:
    """A connection to one service; close it, or use it in a `with`."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_seconds: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        on_wait: Callable[[float, str], None] = lambda _seconds, _why: None,
    ) -> None:
        """Nothing is sent yet. `on_wait` hears how many seconds a request waits before it is tried again, and why.

        Raises ConnectionFailed if no address is given and no note of `prolu up` is found, UnusableToken.
        """
        place = locate(url, token)
        self._http = Http(place, transport=transport, timeout_seconds=timeout_seconds, sleep=sleep, on_wait=on_wait)
        self._sleep = sleep
        self.runs = Runs(self._http, sleep)
        self.sweeps = Sweeps(self._http, sleep)
        self.results = Questions(self._http)
        self.chores = Chores(self._http, sleep)
        self.checkpoints = Checkpoints(self._http, self.chores)
        self.nodes = Nodes(self._http)
        self.users = Users(self._http)
        self.tokens = Tokens(self._http)
        self.audit = Audit(self._http)

    @property
    def url(self) -> str:
        """Address of the service.

        Example: `client.url`.
        """
        return self._http.place.url

    def queue(self, *, limit: int = 100) -> QueueRead:
        """What trains, what waits in which order and why (at most `limit` of it), and the cluster.

        Example: `[entry.reason for entry in client.queue(limit=10).waiting]`.
        """
        return self._http.get("/v1/queue", QueueRead, {"limit": limit})

    def shares(self) -> SharesRead:
        """How much of the cluster each user has had of late, beside how much is theirs.

        Example: `{share.user: share.usage_share for share in client.shares().shares}`.
        """
        return self._http.get("/v1/queue/shares", SharesRead)

    def me(self) -> MeRead:
        """Who the token says you are, what it is good for and until when, and what of your limits you use.

        Example: `client.me().name`.
        """
        return self._http.get("/v1/me", MeRead)

    def track(
        self,
        *runs_and_sweeps: Identity,
        to: Tracker,
        follow: bool = False,
        poll_seconds: float = 5.0,
        on_look: Callable[[list[Exported]], None] = lambda _exported: None,
    ) -> list[Exported]:
        """Export metrics, bias histograms, spec, tags and final metrics of runs, or of all runs of sweeps, to a tracker.

        What is there from an export before stays, and only what is new is added. With `follow` it goes on until the runs have
        ended; `on_look` hears every time how far each is. Raises NotFound, MissingPackage, and what the tracker raises.

        Example: `client.track(sweep.id, to=TensorBoard("boards"))`, with `from prolu.client.trackers import TensorBoard`.
        """
        return export(
            self._http,
            runs_and_sweeps,
            to,
            follow=follow,
            poll_seconds=poll_seconds,
            sleep=self._sleep,
            on_look=on_look,
        )

    def version(self) -> VersionRead:
        """What runs there.

        Example: `client.version().version`.
        """
        return self._http.get("/v1/version", VersionRead)

    def close(self) -> None:
        """Give the connections back.

        Example: `client.close()`.
        """
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
