"""Hashes of files, and what else follows from their content, remembered by path, size, change time and inode.

Files that have not changed are read for it once. The change time is the kernel's (ctime), which no program can set back, so
an edit shows however it is dated; rot that leaves size and time alone is found only by hashing again (remove `fingerprints/`
from the cache folder).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from prolu.data.atomic import write_atomically
from prolu.spec.base import digest_of


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprints(paths: Sequence[Path], *, cache_dir: Path) -> list[str]:
    """Return the sha256 of each file, from memory if none of them has changed since it was last asked for."""
    return remembered("sha256", paths, lambda: [sha256_of(path) for path in paths], cache_dir=cache_dir)


def remembered(what: str, paths: Sequence[Path], compute: Callable[[], list[str]], *, cache_dir: Path) -> list[str]:
    """Return compute(), hashes or findings that depend on the content of `paths` alone, from memory if nothing changed.

    `what` names the computation, with a version: change it when the computation changes.
    """
    states = [(str(path), state.st_size, state.st_ctime_ns, state.st_ino) for path in paths for state in [path.stat()]]
    memory = cache_dir / "fingerprints" / f"{digest_of([what, states])}.json"
    if memory.exists():
        known: list[str] = json.loads(memory.read_bytes())
        return known
    computed = compute()
    write_atomically(memory, json.dumps(computed).encode())
    return computed
