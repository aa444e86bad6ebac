"""The page of the Python client: its classes, their methods, and what they raise."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any

from prolu import client
from prolu.client import hub, trackers
from prolu.client.client import Client

_INTRODUCTION = """# Python client

`pip install prolu` brings the client and the `prolu` command; it needs neither torch nor Ray.
"""


def page() -> str:
    """The whole page: the client, the parts that it has, what else `prolu.client` exports, trackers and the hub."""
    module = (Client.__module__ and inspect.getmodule(Client).__doc__) or ""
    parts = [_INTRODUCTION, _text(module), _class("Client", Client)]
    parts += [_class(f"client.{name}", kind) for name, kind in _parts()]
    others = [name for name in client.__all__ if name != "Client"]
    parts += [_class(name, getattr(client, name)) for name in others]
    for module in (trackers, hub):
        parts += [_class(f"{module.__name__}.{name}", getattr(module, name)) for name in _classes(module)]
    return "\n\n".join(parts) + "\n"


def _classes(module: types.ModuleType) -> list[str]:
    return [name for name in module.__all__ if isinstance(getattr(module, name), type)]


def _parts() -> Iterator[tuple[str, type]]:
    """The attributes that hold the methods of one resource each, as the client makes them."""
    opened = Client(url="http://localhost:1", token="prolu_" + "x" * 43)
    with opened:
        for name, value in vars(opened).items():
            if not name.startswith("_"):
                yield name, type(value)


def _class(name: str, kind: type) -> str:
    lines = [f"## {name}", "", _text(inspect.getdoc(kind) or "")]
    for member, value in vars(kind).items():
        if member.startswith("_") and member != "__init__":
            continue
        if member == "__init__" and issubclass(kind, Exception):
            continue
        lines += _member(member, value)
    return "\n".join(lines)


def _member(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, property):
        yield from ["", f"`{name}`", "", f": {_text(inspect.getdoc(value.fget) or '')}"]
        return
    function = inspect.unwrap(getattr(value, "__func__", value))
    if not isinstance(function, types.FunctionType) or not function.__doc__:
        return
    shown = "__init__" if name == "__init__" else name
    yield from ["", "```python", _signature(shown, function), "```", "", _text(inspect.getdoc(function) or "")]


def _signature(name: str, function: types.FunctionType) -> str:
    signature = inspect.signature(function)
    parameters = [one for one in signature.parameters.values() if one.name != "self"]
    plain = str(signature.replace(parameters=parameters)).replace("'", "")
    return f"{name}{plain}"


def _text(docstring: str) -> str:
    """A docstring as Markdown: its indented blocks are code."""
    return inspect.cleandoc(docstring)
