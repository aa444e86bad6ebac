"""Keep local copies of shards that cannot be memory-mapped where they lie: made once, by one process, whole or not at all.

    shards/{digest}.npy, .safetensors   the copy; the digest is that of what it was made of (place, size, version)
    shards/{digest}.json                written last: bytes and sha256 of the copy, which vouch for it
    shards/{digest}.lock                held by the process that makes it

Knows neither where shards come from nor what is in them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from prolu.data.atomic import UNFINISHED, commit, write_atomically
from prolu.data.fingerprint import fingerprints, remembered
from prolu.data.locking import only_one
from prolu.data.places import DataError, Interrupted
from prolu.data.source import Notify, ShouldStop
from prolu.spec.base import digest_of
from prolu.spec.report import Progress

_REPORTS = 1_000


class Sink:
    """Takes the content of a copy in order, and the news of how much of the original has been read."""

    def __init__(self, file: IO[bytes], tell: Callable[[int], None]) -> None:
        self._file = file
        self._tell = tell
        self._sha256 = hashlib.sha256()

    def write(self, piece: bytes, *, read: int) -> None:
        """Append a piece; `read` bytes of the original have been read so far. Raises Interrupted if asked to stop."""
        self._tell(read)
        self._sha256.update(piece)
        self._file.write(piece)

    def require_room(self, size: int, name: str) -> None:
        """Raise DataError where the disk has not as many bytes left as the copy of `name` will take: few may unpack to many."""
        free = shutil.disk_usage(self._file.name).free
        if size > free:
            raise DataError(
                f"data.path holds {name}, which unpacks to {size} bytes, and the cache folder has room for {free}; "
                "write it in several files, or ask the operator for room."
            )

    @property
    def sha256(self) -> str:
        """Of everything written so far."""
        return self._sha256.hexdigest()


class ShardCache:
    """The copies of one set of shards, with the progress of all of them together."""

    def __init__(self, cache_dir: Path, *, total_bytes: int, notify: Notify, should_stop: ShouldStop) -> None:
        self._cache_dir = cache_dir
        self._total = total_bytes
        self._notify = notify
        self._should_stop = should_stop
        self._finished = 0
        self._told = -total_bytes

    def copy(self, origin: dict[str, Any], suffix: str, *, size: int, fill: Callable[[Sink], None]) -> Path:
        """Return the copy of what `origin` identifies, having `fill` write it if no process has done so.

        `size` is that of the original, in bytes. Other processes that need the same wait; one of them begins anew if this one
        dies. Raises Interrupted if asked to stop, and what `fill` raises; copies that are finished are kept.
        """
        path = self._cache_dir / "shards" / f"{digest_of(origin)}{suffix}"
        if not self._is_whole(path):
            self._tell(0)
            with only_one(path.with_suffix(".lock"), waiting=lambda: None, should_stop=self._should_stop):
                if not self._is_whole(path):
                    self._make(path, origin, fill)
        self._finished += size
        self._tell(0)
        return path

    def _is_whole(self, path: Path) -> bool:
        """Check size and sha256; a copy that has not changed since is not read again."""
        try:
            record = json.loads(path.with_suffix(".json").read_bytes())
            if path.stat().st_size != record["bytes"]:
                return False
            return fingerprints([path], cache_dir=self._cache_dir) == [record["sha256"]]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return False

    def _make(self, path: Path, origin: dict[str, Any], fill: Callable[[Sink], None]) -> None:
        unfinished = path.with_name(path.name + UNFINISHED)
        try:
            with unfinished.open("wb") as file:
                sink = Sink(file, self._tell)
                fill(sink)
                file.flush()
                os.fsync(file.fileno())
            commit(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
        # Hashed on its way to the disk, so it need not be read for that.
        remembered("sha256", [path], lambda: [sink.sha256], cache_dir=self._cache_dir)
        record = {"origin": origin, "bytes": path.stat().st_size, "sha256": sink.sha256}
        write_atomically(path.with_suffix(".json"), json.dumps(record, indent=1, sort_keys=True).encode())

    def _tell(self, read: int) -> None:
        """Say how far it is, at most 1,000 times in all, and hear a wish to stop."""
        if self._should_stop():
            raise Interrupted("asked to stop while copying shards")
        done = self._finished + read
        if done != self._told and (done - self._told >= self._total / _REPORTS or done == self._total):
            self._told = done
            self._notify(Progress(phase="preparing", done=done, total=self._total))
