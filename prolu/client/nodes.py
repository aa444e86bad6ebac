"""`client.nodes`: the cluster, and which of its nodes start nothing more."""

from __future__ import annotations

import builtins

from prolu.client.http import Http
from prolu.client.wire import DrainRequest, NodeRead, Page, UndrainRequest
from prolu.spec import validate


class Nodes:
    """The nodes of the cluster."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def list(self) -> builtins.list[NodeRead]:
        """All nodes as the dispatcher last saw them, by name.

        Example: `sum(node.gpus for node in client.nodes.list())`.
        """
        return self._http.get("/v1/nodes", Page[NodeRead]).items

    def drain(self, node: str, *, evict: bool = False, reason: str | None = None) -> NodeRead:
        """Have a node start nothing more; with `evict`, its runs go back to the queue. Raises SpecError, Forbidden, NotFound.

        Example: `client.nodes.drain(node.name, reason="new disk")`.
        """
        return self._http.post(
            "/v1/nodes:drain", NodeRead, validate({"node": node, "evict": evict, "reason": reason}, DrainRequest)
        )

    def undrain(self, node: str) -> None:
        """Have a node start runs again. Raises SpecError, Forbidden, NotFound.

        Example: `client.nodes.undrain(node.name)`.
        """
        self._http.post("/v1/nodes:undrain", Page[NodeRead], validate({"node": node}, UndrainRequest))
