"""How long something may take, as people type it: `90`, `45s`, `90min`, `2h`, `1.5d`."""

from __future__ import annotations

import re

from prolu.client.cli.documents import BadInput

_SECONDS = {"": 1, "s": 1, "min": 60, "h": 3_600, "d": 86_400}


def seconds_of(option: str, text: str | None) -> float | None:
    """Read a time with its unit, seconds without one; None stays None. Raises BadInput, which names the option."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", text.strip())
    if found is None or found[2] not in _SECONDS:
        raise BadInput(f"{option} must be a time such as 45s, 90min, 2h or 1d; got {text!r}.")
    return float(found[1]) * _SECONDS[found[2]]
