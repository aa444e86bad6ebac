"""What is wrong with a filter, an order or a selection, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Literal

Part = Literal["filter", "order_by", "fields"]

_SHOWN = 60


class Misread(ValueError):
    """A text of the language that says nothing; `part` names which, `at` is the offset of the first wrong character.

    The sentence names the line (where there are several) and the column, both from 1.
    """

    def __init__(self, part: Part, text: str, at: int, complaint: str) -> None:
        self.part = part
        self.at = at
        self.sentence = f"{part}, {_place(text, at)}: {complaint}"
        super().__init__(self.sentence)


def quoted(text: str) -> str:
    """A piece of what was sent, cut and harmless."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean a, b or c?` for what is close, or nothing."""
    close = difflib.get_close_matches(name[:200], list(known), n=3, cutoff=0.6)
    return f"; did you mean {_either(close)}?" if close else ""


def _either(choices: list[str]) -> str:
    return " or ".join([", ".join(choices[:-1]), choices[-1]] if len(choices) > 1 else choices)


def _place(text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return f"line {line}, column {column}" if "\n" in text else f"column {column}"
