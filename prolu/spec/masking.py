"""Take out of a text what looks like a secret, before it is logged, stored or shown."""

from __future__ import annotations

import re

_SECRET = re.compile(r"prolu_[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|(?<=://)[^/@\s]*:[^/@\s]*(?=@)")
_MASK = "…"


def masked(text: str) -> str:
    """Replace our tokens, those of the Hugging Face hub, and user and password in URLs by `…`."""
    return _SECRET.sub(_MASK, text)
