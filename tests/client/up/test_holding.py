"""One `prolu up` per data directory, and a note that only this user can read."""

import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from prolu.client.locate import ENDPOINT_FILE
from prolu.client.up.holding import Held, announced, hold, write_private

HOLDER = """
import sys, pathlib
from prolu.client.up.holding import hold
with hold(pathlib.Path(sys.argv[1]), say=print):
    print("held", flush=True)
    sys.stdin.read()
"""
# Takes the lock as a guardian inherits it, and gives it back when its standard input ends.
HEIR = "import sys; print('inherited', flush=True); sys.stdin.read()"


def test_a_second_holder_is_refused_with_a_sentence_that_names_the_first(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with (
            pytest.raises(Held, match=rf"is held by process {first.pid}, up since 20.*stop that `prolu up` first"),
            hold(tmp_path, say=print),
        ):
            raise AssertionError("two hold it")
        first.communicate("")
    with hold(tmp_path, say=print):
        assert json.loads((tmp_path / "up.lock").read_text())["pid"] == os.getpid()


def test_it_waits_for_what_a_dead_holder_left(tmp_path: Path) -> None:
    said: list[str] = []
    with (tmp_path / "up.lock").open("a+") as file:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        json.dump({"pid": dead.pid, "started_at": "2026-01-01T00:00:00+00:00"}, file)
        file.flush()
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        heir = subprocess.Popen(
            [sys.executable, "-c", HEIR],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[file.fileno()],
            text=True,
        )
    assert heir.stdout is not None
    assert heir.stdin is not None
    assert heir.stdout.readline() == "inherited\n"

    def say(line: str) -> None:
        said.append(line)
        heir.communicate("")

    with hold(tmp_path, say=say):
        assert said == [f"waiting for what the former prolu up (process {dead.pid}, dead) left to end"]


def test_a_lock_file_that_was_not_signed_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "up.lock").write_text("nonsense")
    with hold(tmp_path, say=print):
        assert json.loads((tmp_path / "up.lock").read_text())["pid"] == os.getpid()


def test_the_note_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    note = tmp_path / ENDPOINT_FILE
    note.write_text("left by one that was killed")
    with announced(tmp_path, "http://127.0.0.1:1"):
        assert json.loads(note.read_text()) == {"url": "http://127.0.0.1:1", "pid": os.getpid()}
        assert stat.S_IMODE(note.stat().st_mode) == 0o600
    assert not note.exists()


def test_a_private_file_is_private_whatever_lay_there_before(tmp_path: Path) -> None:
    (tmp_path / "secret.tmp").write_text("open to all")
    (tmp_path / "secret.tmp").chmod(0o666)
    write_private(tmp_path / "secret", "x")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert (tmp_path / "secret").read_text() == "x"
