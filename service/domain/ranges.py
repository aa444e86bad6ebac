"""Which bytes of a file a request asks for, and whether it has them already: RFC 9110, sections 13 and 14, for one strong tag.

What a client writes wrongly is ignored, as the standard has it, and the whole file is sent. Knows no HTTP framework.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from service.domain.errors import UnsatisfiableRange

# Longer ones are nobody's honest wish; no file has a place of more digits.
_LONGEST_HEADER, _MOST_DIGITS = 200, 18
_ONE_RANGE = re.compile(r"bytes[ \t]*=[ \t,]*([0-9]*)-([0-9]*)[ \t,]*", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


class Span(NamedTuple):
    """The bytes from `start` to before `stop`."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Their number."""
        return self.stop - self.start


def span_asked_for(
    header: str | None, size: int, *, if_range: str | None = None, tag: str | None = None
) -> Span | None:
    """Give the bytes that a Range header asks for; None for the whole file.

    That is without a header, with one that is malformed, of another unit or of several ranges, and where `if_range` is not
    the present `tag`: what the client has is then of another file. Raises UnsatisfiableRange for a range without a byte.
    """
    if header is None or len(header) > _LONGEST_HEADER or (if_range is not None and if_range.strip() != tag):
        return None
    matched = _ONE_RANGE.fullmatch(header.strip(" \t"))
    first, last = matched.groups() if matched else ("", "")
    if not first and not last:
        return None
    span = Span(max(0, size - _number(last)), size) if not first else Span(_number(first), size)
    if first and last:
        if _number(last) < _number(first):
            return None
        span = Span(span.start, min(_number(last) + 1, size))
    if span.length <= 0:
        raise UnsatisfiableRange(
            f"Range is {header[:80]}, but the file has {size} bytes; ask for bytes that it has, or for all without Range.",
            size,
        )
    return span


def names_tag(header: str | None, tag: str) -> bool:
    """Whether an If-None-Match names the strong `tag`, quotes included: `*`, or one of a list, compared weakly."""
    if header is None:
        return False
    return header.strip() == "*" or any(found == tag for _, found in _TAG.findall(header))


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
