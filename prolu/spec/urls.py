"""URLs of object stores, as users and operators write them, and the data roots they may be among. Opens none.

Credentials never stand in a URL: it is stored, logged and shown. The operator's environment holds them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

SCHEMES = ("s3", "gs")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Read by clients of object stores as a pattern, a query, a fragment or a chain of file systems.
_SPECIAL = re.compile(r"[*?#\[\]]|::")
# Where `:` separates paths, the one of `s3://` separates nothing.
_SEPARATOR = re.compile(re.escape(os.pathsep) + "(?!//)")


@dataclass(frozen=True)
class ObjectUrl:
    """A bucket, or a file or prefix in it."""

    scheme: str
    """One of `s3` and `gs`."""
    bucket: str
    """The bucket."""
    parts: tuple[str, ...]
    """The key, split at its slashes; empty for the bucket itself."""

    @property
    def path(self) -> str:
        """Bucket and key, as fsspec's file systems take them."""
        return "/".join([self.bucket, *self.parts])

    @property
    def name(self) -> str:
        """The last part."""
        return [self.bucket, *self.parts][-1]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}"

    def is_below(self, root: ObjectUrl) -> bool:
        """Whether this is `root` or lies below it, part by part: `s3://b/lab2` is not below `s3://b/lab`."""
        same_bucket = (self.scheme, self.bucket) == (root.scheme, root.bucket)
        return same_bucket and self.parts[: len(root.parts)] == root.parts


def is_url(location: str) -> bool:
    """Whether a location is meant as a URL, a good one or not, rather than as a path."""
    return "://" in location


def parse_url(text: str) -> ObjectUrl:
    """Read a URL such as `s3://bucket/prefix`; a slash at its end means nothing.

    Raises ValueError that says what is wrong, in words that follow "is ..."; it shows no part that may be a secret.
    """
    scheme, _, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    if "@" in bucket or ":" in bucket:
        raise ValueError(
            "a URL with credentials or a port, which nobody here should see; leave them to the operator's settings"
        )
    if scheme not in SCHEMES:
        raise ValueError(
            f"{text!r}, a URL that is not read here; use {' or '.join(f'{name}://' for name in SCHEMES)} or a path"
        )
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{text!r}, which names no bucket; write {scheme}://bucket/prefix")
    parts = tuple(key.removesuffix("/").split("/")) if key.removesuffix("/") else ()
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{text!r}, which has an empty part or one of dots alone; write the prefix out")
    if special := _SPECIAL.search(key):
        raise ValueError(f"{text!r}, in which {special[0]!r} would mean a pattern or a query; name one file or prefix")
    return ObjectUrl(scheme, bucket, parts)


def split_roots(text: str) -> list[Path | ObjectUrl]:
    """Read PROLU_DATA_ROOTS: folders and URLs, split as PATH is, save at `://`; empty parts mean nothing.

    Raises ValueError that says what is wrong; it shows no part that may be a secret.
    """
    parts = [part for part in _SEPARATOR.split(text) if part]
    for before, after in pairwise(parts):
        if is_url(before) and not is_url(after) and not Path(after).expanduser().is_absolute():
            raise ValueError(
                "after a URL stands neither a URL nor an absolute path; a port or credentials have no place in a URL here"
            )
    return [_root(part) for part in parts]


def _root(text: str) -> Path | ObjectUrl:
    if not is_url(text):
        return Path(text)
    try:
        return parse_url(text)
    except ValueError as error:
        raise ValueError(f"one of the roots is {error}") from None
