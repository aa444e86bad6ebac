"""The disk under the artifact store: one of its own that can really be full, where the system lets us mount one.

Linux gives every process a mount namespace of its own for the asking, root or (mostly) not; in it we mount a small tmpfs
that nobody else sees. Where that is forbidden, as in some containers, the store is taken away instead: a file stands
where its folder was, and every write fails, though not for want of space.
"""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path
from typing import Literal

BYTES = 512_000_000
_ALONE = ("--mount", "--propagation", "private")
# As root there are other users to keep (PostgreSQL's); without, we are root of a user namespace, but under our own name.
_NAMESPACES = (
    ("unshare", *_ALONE),
    ("unshare", "--user", "--map-current-user", "--keep-caps", *_ALONE),
)
_MOUNT = 'mount -t tmpfs -o size="$1",mode=0700 prolu-chaos "$0" && shift && exec "$@"'
_FILLER = "filler"


def with_small_disk(folder: Path) -> list[str]:
    """Return the beginning of a command that mounts a small disk at `folder` and goes on; empty where none may be mounted."""
    for namespace in _NAMESPACES:
        prefix = [*namespace, "sh", "-c", _MOUNT, str(folder), str(BYTES)]
        try:
            subprocess.run([*prefix, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return prefix
    return []


class Disk:
    """The disk at the folder `mount`; artifacts lie in the folder `name` on it."""

    def __init__(self, mount: Path, name: str) -> None:
        self._filler = mount / _FILLER
        self._away = mount / f"{name}.away"
        self.artifacts = mount / name
        self.artifacts.mkdir()
        self.kind: Literal["full", "away"] = "full" if os.path.ismount(mount) else "away"

    def fail(self) -> None:
        """Leave no byte free, or take the store away."""
        if self.kind == "away":
            self.artifacts.rename(self._away)
            self.artifacts.touch()
            return
        with self._filler.open("wb") as filler:
            piece = 1 << 20
            while piece:
                try:
                    os.posix_fallocate(filler.fileno(), filler.seek(0, os.SEEK_END), piece)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2

    def mend(self) -> None:
        """Give the space, or the store, back; nothing happens if it is not missing."""
        if self._away.exists():
            self.artifacts.unlink()
            self._away.rename(self.artifacts)
        self._filler.unlink(missing_ok=True)
