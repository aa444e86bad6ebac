"""Read an order: `metrics.fvu desc, name`, the first key first."""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.domain.filters.columns import Column, columns, unknown
from service.domain.filters.mistakes import Misread, quoted

MAX_KEYS = 5
_MAX_LENGTH = 1_000


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an order. Runs that have no value there come last, whichever way it goes."""

    column: Column
    descending: bool


def parse_order(text: str) -> tuple[Key, ...]:
    """Read an order; empty for an empty text. Ties are left to whoever sorts. Raises Misread."""
    if len(text) > _MAX_LENGTH:
        raise Misread("order_by", text, _MAX_LENGTH, f"it has {len(text):,} characters; name at most {MAX_KEYS} paths.")
    if not text.strip():
        return ()
    keys: list[Key] = []
    for part in re.finditer(r"[^,]*(?:,|$)", text):
        if part.start() == len(text) and not text.endswith(","):
            break
        keys.append(_key(text, part.group().rstrip(","), part.start(), [key.column.name for key in keys]))
    if len(keys) > MAX_KEYS:
        raise Misread("order_by", text, 0, f"it has {len(keys)} keys, and at most {MAX_KEYS} are sorted by.")
    return tuple(keys)


def _key(text: str, part: str, start: int, before: list[str]) -> Key:
    at = start + len(part) - len(part.lstrip())
    words = part.split()
    if not words:
        raise Misread(
            "order_by", text, min(at, len(text)), "there is no path between the commas; write `path`, or `path desc`."
        )
    path, direction = words[0], " ".join(words[1:]).lower()
    column = columns().get(path)
    if column is None:
        raise Misread("order_by", text, at, unknown(path))
    if not column.is_single:
        raise Misread(
            "order_by", text, at, f"{path} is no single value, so nothing can be sorted by it; name a path below it."
        )
    if path in before:
        raise Misread("order_by", text, at, f"{path} is named twice; once is enough.")
    if direction not in ("", "asc", "desc"):
        after = start + part.index(words[1], part.index(path) + len(path))
        raise Misread(
            "order_by", text, after, f"after a path stands `asc`, `desc` or nothing; got {quoted(direction)}."
        )
    return Key(column, direction == "desc")
