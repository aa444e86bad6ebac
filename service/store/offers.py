"""What the cluster has to offer, asked of the database once a second at most: every submission wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from prolu.client.wire import NodeRead
from prolu.spec import Mistake
from service.store.db import Database
from service.store.nodes import believed_nodes

_BELIEVED_SECONDS = 1.0


class Offers:
    """Believes for a second which nodes there are. Nothing is refused for what was believed: the database is asked again."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._known: tuple[float, list[NodeRead]] = float("-inf"), []

    def mistakes(self, find: Callable[[Sequence[NodeRead]], list[Mistake]]) -> list[Mistake]:
        """Say what `find` finds wrong by the nodes that there are: what it finds nothing wrong with may be a second old."""
        until, nodes = self._known
        if self._clock() < until and not find(nodes):
            return []
        return find(self._ask())

    def _ask(self) -> list[NodeRead]:
        asked_at = self._clock()
        nodes = believed_nodes(self._database)
        self._known = asked_at + _BELIEVED_SECONDS, nodes
        return nodes
