"""The disk of the chaos suite fails and comes back, also where none of its own may be mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.disk import Disk


def test_where_no_disk_may_be_mounted_the_store_is_taken_away_and_given_back_whole(tmp_path: Path):
    disk = Disk(tmp_path, "artifacts")
    assert disk.kind == "away"
    kept = disk.artifacts / "run" / "weights"
    kept.parent.mkdir()
    kept.write_bytes(b"kept")
    disk.fail()
    with pytest.raises(NotADirectoryError):
        (disk.artifacts / "run" / "more").write_bytes(b"lost")
    with pytest.raises(NotADirectoryError):
        (disk.artifacts / "another").mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        disk.mend()
        assert kept.read_bytes() == b"kept"
        assert [path.name for path in tmp_path.iterdir()] == ["artifacts"]
