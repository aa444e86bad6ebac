"""Content hashes: computed once while a file stays as it is."""

import hashlib
import os
from pathlib import Path

from prolu.data.fingerprint import fingerprints, remembered


def test_each_file_has_the_sha256_of_its_content(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_bytes(path.name.encode() * 1000)
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    for _ in range(2):
        assert fingerprints(paths, cache_dir=tmp_path / "cache") == expected
    assert fingerprints(paths[::-1], cache_dir=tmp_path / "cache") == expected[::-1]


def test_a_hash_is_computed_again_only_when_a_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    computed = []

    def compute() -> list[str]:
        computed.append(path.read_text())
        return [path.read_text()]

    def ask(what: str = "text") -> list[str]:
        return remembered(what, [path], compute, cache_dir=tmp_path / "cache")

    assert ask() == ask() == ["one"]
    assert computed == ["one"]
    before = path.stat()
    path.write_text("two")  # of equal length, and made to look as old as before: only the kernel's time tells
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # within one tick of its clock
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ask() == ["two"]
    assert ask("another computation") == ["two"]
    assert computed == ["one", "two", "two"]
