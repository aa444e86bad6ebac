"""Text from elsewhere made harmless for a terminal: what would steer it is shown by its escape instead."""

from __future__ import annotations

import re

# C0 but the newline, DEL and C1; and what reorders or breaks lines without being seen (Unicode UAX 9, UAX 14).
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The text with control characters and overrides of the writing direction as escapes, such as `\\x1b`."""
    return _STEERING.sub(lambda found: ascii(found.group())[1:-1], text)
