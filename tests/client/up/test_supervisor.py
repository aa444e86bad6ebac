"""The supervisor keeps real processes running, and leaves none behind however it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("supervised.py")

# Opens the FIFO that every process of a test holds open, signs there, and says that it is ready.
SIGN = """
import os, signal, sys, time
alive = os.open(sys.argv[1], os.O_WRONLY)
def sign(name):
    os.write(alive, f"{name} {os.getpid()}\\n".encode())
"""
POLITE = SIGN + "sign('NAME'); print('ready', flush=True)\nsignal.pause()\n"
DEAF = (
    SIGN
    + "signal.signal(signal.SIGTERM, signal.SIG_IGN); sign('NAME'); print('ready', flush=True)\nwhile True: signal.pause()\n"
)
# A daemon of the second generation in a session of its own, deaf to SIGTERM: what a process group does not catch.
WITH_DAEMON = (
    SIGN
    + """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sign('daemon')
        while True: signal.pause()
    os._exit(0)
os.wait()
sign('NAME'); print('ready', flush=True)
signal.pause()
"""
)
LAST_WORDS = (
    SIGN
    + """
def leave(number, frame):
    print('NAME leaves', flush=True)
    sign('left-NAME')
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
sign('NAME'); print('ready', flush=True)
while True: signal.pause()
"""
)


class Stage:
    """A supervisor in a process of its own, and the FIFO in which its descendants sign."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        os.mkfifo(folder / "alive")
        self._reader = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._reader, True)
        self._keeper = os.open(folder / "alive", os.O_WRONLY)
        self._unread = b""
        self._signatures: list[tuple[str, int]] = []
        self.process: subprocess.Popen[str] | None = None

    def start(self, *children: dict[str, Any], ignoring: int | None = None, patience_seconds: float = 0.01) -> None:
        plan = {"folder": str(self.folder), "children": children, "patience_seconds": patience_seconds}
        before = (
            signal.signal(ignoring, signal.SIG_IGN) if ignoring is not None else None
        )  # ignored signals are inherited
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), json.dumps(plan)], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        if ignoring is not None:
            signal.signal(ignoring, before)

    def signed(self, name: str) -> int:
        """Wait until a process signs as `name`; its pid. Each signature counts once."""
        while True:
            for index, (signer, pid) in enumerate(self._signatures):
                if signer == name:
                    del self._signatures[index]
                    return pid
            self._read()

    def next_signatures(self, count: int) -> list[str]:
        """Wait for so many signatures, in the order in which they came."""
        while len(self._signatures) < count:
            self._read()
        taken, self._signatures = self._signatures[:count], self._signatures[count:]
        return [signer for signer, _ in taken]

    def _read(self) -> None:
        *lines, self._unread = (self._unread + os.read(self._reader, 4096)).split(b"\n")
        self._signatures += [(line.split()[0].decode(), int(line.split()[1])) for line in lines]

    def says(self, beginning: str) -> str:
        """Wait for a line that begins so."""
        assert self.process is not None
        assert self.process.stdout is not None
        heard = []
        for line in self.process.stdout:
            heard.append(line)
            if line.startswith(beginning):
                return line
        raise AssertionError(f"never said {beginning!r}, but: {heard}")

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ends(self) -> int:
        assert self.process is not None
        return self.process.wait(30)

    def everyone_is_gone(self) -> bool:
        """Wait for the end of file of the FIFO: no process has it open for writing any more."""
        os.close(self._keeper)
        self._keeper = -1
        while os.read(self._reader, 4096):
            pass
        return True

    def close(self) -> None:
        os.close(self._reader)
        if self._keeper >= 0:
            os.close(self._keeper)
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process.wait()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def child(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "script": script.replace("NAME", name), **more}


def test_children_start_in_order_and_stop_in_reverse_order(stage: Stage) -> None:
    stage.start(
        child("one", LAST_WORDS), child("two", LAST_WORDS, after=["one"]), child("three", LAST_WORDS, after=["two"])
    )
    assert stage.next_signatures(3) == ["one", "two", "three"]
    stage.says("all ready")
    stage.send(signal.SIGTERM)
    assert stage.next_signatures(3) == ["left-three", "left-two", "left-one"]
    stage.says("stopped")
    assert stage.ends() == 0
    assert stage.everyone_is_gone()


def test_the_end_of_the_terminal_stops_it_unless_it_was_told_to_stay(stage: Stage) -> None:
    stage.start(child("one", POLITE), ignoring=signal.SIGHUP)
    stage.says("all ready")
    stage.send(signal.SIGHUP)
    first = stage.signed("one")
    os.kill(first, signal.SIGKILL)
    stage.says("one ended")
    stage.send(signal.SIGTERM)
    assert stage.ends() == 0
    assert stage.everyone_is_gone()


def test_a_child_that_dies_is_started_again_and_the_line_says_so(stage: Stage) -> None:
    stage.start(child("one", POLITE))
    first = stage.signed("one")
    stage.says("all ready")
    os.kill(first, signal.SIGKILL)
    assert "signal Killed" in stage.says("one ended")
    assert stage.signed("one") != first
    stage.send(signal.SIGINT)
    assert stage.ends() == 0
    assert stage.everyone_is_gone()


def test_a_child_falls_with_the_one_it_depends_on_and_others_do_not(stage: Stage) -> None:
    stage.start(
        child("head", POLITE),
        child("api", POLITE),
        child("dispatcher", DEAF, after=["head", "api"], falls_with=["head"], grace_seconds=60),
    )
    head, api, dispatcher = stage.signed("head"), stage.signed("api"), stage.signed("dispatcher")
    stage.says("all ready")
    os.kill(head, signal.SIGKILL)
    stage.says("dispatcher is restarted with head")
    assert stage.signed("head") != head
    assert stage.signed("dispatcher") != dispatcher
    os.kill(api, 0)
    stage.send(signal.SIGTERM)
    stage.says("stopping dispatcher")
    stage.send(signal.SIGTERM)
    assert stage.ends() == 0
    assert stage.everyone_is_gone()


def test_a_child_that_keeps_dying_is_given_up_with_the_end_of_its_log(stage: Stage) -> None:
    stage.start(child("good", POLITE), child("bad", "raise SystemExit('no such port')", after=["good"]))
    assert "bad died 3 times in a row" in stage.says("given up: bad")
    assert stage.says("  | ") == "  | no such port\n"
    assert stage.ends() == 1
    assert stage.everyone_is_gone()


def test_a_child_that_refuses_its_settings_ends_everything_at_once_with_its_own_sentence(stage: Stage) -> None:
    refusal = "import sys\nprint('wrong setting'); sys.exit(2)"
    stage.start(child("good", POLITE), child("bad", refusal, after=["good"]), patience_seconds=3600)
    assert stage.says("wrong settings: bad") == "wrong settings: bad refuses what it was told: wrong setting\n"
    assert stage.ends() == 2
    assert stage.everyone_is_gone()


def test_a_child_that_may_be_late_is_not_waited_for_for_ever(stage: Stage) -> None:
    stage.start(child("slow", SIGN + "sign('slow'); signal.pause()", ready_seconds=0.3, may_be_late=True))
    assert f"slow is not ready yet; it goes on, see {stage.folder / 'slow.log'}" in stage.says("slow")
    stage.says("all ready")
    stage.send(signal.SIGTERM)
    assert stage.ends() == 0
    assert stage.everyone_is_gone()


def test_a_child_that_does_not_become_ready_is_given_up(stage: Stage) -> None:
    stage.start(child("slow", SIGN + "sign('slow'); signal.pause()", ready_seconds=0.3))
    assert "slow did not become ready within 0.3 s" in stage.says("given up")
    assert stage.ends() == 1
    assert stage.everyone_is_gone()


def test_a_deaf_child_is_killed_when_its_grace_is_over(stage: Stage) -> None:
    stage.start(child("deaf", DEAF, grace_seconds=0.3))
    stage.signed("deaf")
    stage.says("all ready")
    stage.send(signal.SIGTERM)
    assert stage.ends() == 0
    assert stage.everyone_is_gone()


def test_a_second_signal_ends_a_deaf_child_at_once(stage: Stage) -> None:
    stage.start(child("deaf", DEAF, grace_seconds=300))
    stage.signed("deaf")
    stage.says("all ready")
    stage.send(signal.SIGTERM)
    stage.says("stopping deaf")
    stage.send(signal.SIGTERM)
    assert stage.ends() == 0
    assert stage.everyone_is_gone()


def test_a_daemon_that_a_child_left_is_ended_with_it(stage: Stage) -> None:
    stage.start(child("one", WITH_DAEMON))
    stage.signed("daemon")
    first = stage.signed("one")
    stage.says("all ready")
    os.kill(first, signal.SIGKILL)
    stage.says("one ended")
    stage.signed("one")
    stage.send(signal.SIGTERM)
    assert stage.ends() == 0
    assert stage.everyone_is_gone()


def test_nothing_survives_when_the_supervisor_is_killed(stage: Stage) -> None:
    stage.start(child("one", WITH_DAEMON), child("two", POLITE), child("three", DEAF, grace_seconds=0.5))
    for name in ("one", "two", "three"):
        stage.signed(name)
    stage.says("all ready")
    stage.send(signal.SIGKILL)
    assert stage.ends() == -signal.SIGKILL
    assert stage.everyone_is_gone()


def test_what_a_killed_guardian_leaves_is_ended_before_the_restart(stage: Stage) -> None:
    stage.start(child("one", WITH_DAEMON))
    daemon = stage.signed("daemon")
    first = stage.signed("one")
    stage.says("all ready")
    guardian = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guardian, signal.SIGKILL)
    stage.says("one ended")
    assert stage.signed("one") != first
    assert not Path(f"/proc/{daemon}").exists()
    stage.send(signal.SIGTERM)
    assert stage.ends() == 0
    assert stage.everyone_is_gone()
