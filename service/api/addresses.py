"""Which addresses there are, and what may be done at each: asked before a route is looked for.

A route alone cannot tell. `GET /v1/runs/{run_id}` would take `7:cancel` for the id of a run, where only a POST makes sense,
and of several routes at one address each knows but its own method. So: what a path names in braces holds no colon, an
address is decided by all routes that share it, and

    unknown                 404, with the address that was meant, if there is one without the slash at the end
    another method          405, with Allow
    OPTIONS                 204, with Allow
    HEAD                    as GET, without the body, unless a route of its own knows better
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import problem

_NAMED = re.compile(r"\{[^}]*\}")


class Addresses:
    """Stands before the routes. Built when the first request comes, since routes may be added until then."""

    def __init__(self, app: ASGIApp, *, routes: Callable[[], Sequence[BaseRoute]]) -> None:
        """`routes` are those of the application that `app` leads to."""
        self._app = app
        self._routes = routes
        self._methods: dict[str, frozenset[str]] | None = None
        self._named: list[tuple[re.Pattern[str], frozenset[str]]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what needs no route, and pass on the rest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method, request_id = scope["path"], scope["method"], scope.get("prolu.request_id", "")
        routed, allowed = self._routed(path), self.allowed(path) or frozenset()
        if routed is None and not self._mounted(scope):
            await problem(404, "not_found", self._unknown(path), request_id)(scope, receive, send)
        elif routed is None or method in routed:
            await self._app(scope, receive, send)
        elif method not in allowed:
            detail = f"{method[:20]} is not possible at {path[:200]}; the Allow header says what is."
            refusal = problem(405, "method_not_allowed", detail, request_id, headers=_allow(allowed))
            await refusal(scope, receive, send)
        elif method == "OPTIONS":
            await Response(status_code=204, headers=_allow(allowed))(scope, receive, send)
        else:
            await self._head(scope, receive, send)

    def allowed(self, path: str) -> frozenset[str] | None:
        """Give the methods of an address, or None where no route is."""
        routed = self._routed(path)
        if routed is None:
            return None
        return routed | {"OPTIONS"} | ({"HEAD"} if "GET" in routed else set())

    def _routed(self, path: str) -> frozenset[str] | None:
        if self._methods is None:
            self._methods = self._collect()
        if (methods := self._methods.get(path)) is not None:
            return methods
        return next((methods for pattern, methods in self._named if pattern.fullmatch(path)), None)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as to GET, and end with the head; what makes the body hears that nobody listens any more."""
        asked: Scope = {**scope, "method": "GET"}
        ended = False

        async def send_head(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                scope["route"] = asked.get("route")  # for whoever counts requests
                await send(message)
            elif not ended:
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app(asked, receive, send_head)

    def _collect(self) -> dict[str, frozenset[str]]:
        """Gather the methods of routes by address; addresses with names become patterns, those with the fewest names first."""
        found: dict[str, set[str]] = {}
        for path, methods in self._single():
            found.setdefault(path, set()).update(methods)
        plain = {path: frozenset(methods) for path, methods in found.items()}
        named = sorted((path for path in plain if "{" in path), key=lambda path: (path.count("{"), -len(path)))
        self._named = [(_pattern(path), plain.pop(path)) for path in named]
        return plain

    def _single(self) -> Iterator[tuple[str, set[str]]]:
        for context in iter_route_contexts(self._routes()):
            methods = getattr(context, "methods", None)
            if methods:
                yield str(context.path), set(methods)

    def _mounted(self, scope: Scope) -> bool:
        """Whether a whole application that is mounted below a prefix answers for this path."""
        return any(isinstance(route, Mount) and route.matches(scope)[0] is Match.FULL for route in self._routes())

    def _unknown(self, path: str) -> str:
        meant = path.rstrip("/")
        if meant != path and self.allowed(meant) is not None:
            return f"There is nothing at {path[:200]}; did you mean {meant[:200]}?"
        return f"There is nothing at {path[:200]}; GET /openapi.json lists what there is."


def _pattern(path: str) -> re.Pattern[str]:
    """Make `/v1/runs/{run_id}:cancel` an expression; `{name:path}` takes slashes as well."""
    pieces = zip(_NAMED.split(path), [*_NAMED.findall(path), ""], strict=True)
    return re.compile("".join(re.escape(text) + _expression(name) for text, name in pieces))


def _expression(name: str) -> str:
    if not name:
        return ""
    return ".+" if name.endswith(":path}") else "[^/:]+"


def _allow(methods: frozenset[str]) -> dict[str, str]:
    return {"Allow": ", ".join(sorted(methods))}
