"""The records in a `.wandb` file: a log in LevelDB's format, in blocks of 32 KiB, of wandb's own protobuf messages.

Each piece has a header of seven bytes (checksum, length, kind); a record is one whole piece, or a first, middle and last ones.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _PIECE, _PREAMBLE = 32768, struct.Struct("<IHB"), 7
_WHOLE, _LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """Every record, in order."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()
    assert content.startswith(b":W&B")
    at, gathered = _PREAMBLE, b""
    while at < len(content):
        if _BLOCK - at % _BLOCK < _PIECE.size:
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = _PIECE.unpack_from(content, at)
        gathered += content[at + _PIECE.size : at + _PIECE.size + length]
        at += _PIECE.size + length
        if kind in (_WHOLE, _LAST):
            yield Record.FromString(gathered)
            gathered = b""
