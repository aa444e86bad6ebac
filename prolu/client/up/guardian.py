"""Run one command and let nothing that it started outlive it. A script of its own, of the standard library alone.

    prolu up  --lifeline (stdin)-->  guardian  -->  command  -->  whatever that starts

Why a process between: Ray's head starts servers, agents and workers that do not all die with it, and `prolu up` may be
killed without a word. The guardian adopts every orphan below it (Linux: PR_SET_CHILD_SUBREAPER), so none can slip away, and
it reads a pipe whose other end only `prolu up` holds: end of file means that nobody is left to ask for an orderly end.

Signals: SIGTERM asks the command to end and gives it the grace; a second one is passed on and shortens the grace; SIGUSR1
ends everything at once. The exit status is the command's own (128 + n if signal n ended it).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HURRIED_SECONDS = 2.0
ABANDONED_SECONDS = 5.0
_STRAGGLER_SECONDS = 1.0
_KILL_SECONDS = 10.0
_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def guard(argv: Sequence[str], *, grace_seconds: float, lifeline: int) -> int:
    """Run `argv` until it ends or its end is asked for; return its exit status when no descendant is left."""
    adopt_orphans()
    wakeup, received = _listen()
    command = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent)  # noqa: S603 our own arguments
    status: int | None = None
    deadline: float | None = None
    watched = [wakeup, lifeline]
    while status is None:
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        readable, _, _ = select.select(watched, [], [], remaining)
        if wakeup in readable:
            os.read(wakeup, 64)
        if lifeline in readable and not os.read(lifeline, 64):
            watched.remove(lifeline)
            print(f"guardian: prolu up is gone; ending {argv[0]}", file=sys.stderr, flush=True)  # noqa: T201 it has no logger and lives for one sentence
            deadline = _ask(command.pid, deadline, min(grace_seconds, ABANDONED_SECONDS))
        while received:
            match received.pop(0):
                case signal.SIGUSR1:
                    deadline = time.monotonic()
                case signal.SIGTERM | signal.SIGINT | signal.SIGHUP:
                    deadline = _ask(command.pid, deadline, HURRIED_SECONDS if deadline else grace_seconds)
        status = reap().get(command.pid)
        if status is None and deadline is not None and time.monotonic() >= deadline:
            break
    ended = end_processes(lambda: descendants(os.getpid()), gently=status is not None)
    status = ended.get(command.pid, 128 + signal.SIGKILL) if status is None else status
    command.returncode = status  # reaped here, so that Popen does not wait for it again
    if not _PROC.is_dir():
        _signal_group(command.pid)
    return status


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies (Linux; elsewhere nothing happens)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> set[int]:
    """Every process below `pid`, from /proc; zombies left out. Empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:
            continue  # it ended meanwhile
        state, parent = text.rpartition(")")[2].split()[:2]
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry.parent.name))
    found: set[int] = set()
    frontier = [pid]
    while frontier:
        below = children.get(frontier.pop(), [])
        found.update(below)
        frontier.extend(below)
    return found


def end_processes(alive: Callable[[], set[int]], *, gently: bool) -> dict[int, int]:
    """End all that `alive()` names, first with SIGTERM if `gently`; return the exit statuses of those that were ours to reap.

    Raises RuntimeError if one withstands SIGKILL for ten seconds (it hangs in the kernel).
    """
    ended: dict[int, int] = {}
    begun = time.monotonic()
    told: set[int] = set()
    while left := alive():
        elapsed = time.monotonic() - begun
        if elapsed > _STRAGGLER_SECONDS + _KILL_SECONDS:
            raise RuntimeError(f"Processes {sorted(left)} do not end; look at them with ps and end them by hand.")
        if gently and elapsed < _STRAGGLER_SECONDS:
            for pid in left - told:
                _signal(pid, signal.SIGTERM)
            told |= left
        else:
            for pid in left:
                _signal(pid, signal.SIGKILL)
        ended |= reap()
        time.sleep(0.02)
    return ended | reap()


def reap() -> dict[int, int]:
    """Collect every child that has ended, adopted ones too: exit status by pid."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        code = os.waitstatus_to_exitcode(status)
        ended[pid] = code if code >= 0 else 128 - code


def _listen() -> tuple[int, list[int]]:
    """Note signals in a list, in the order in which they come, and make a file descriptor readable by each."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda number, _frame: received.append(number))
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    return reader, received


def _ask(pid: int, deadline: float | None, grace_seconds: float) -> float:
    _signal(pid, signal.SIGTERM)
    wished = time.monotonic() + grace_seconds
    return wished if deadline is None else min(deadline, wished)


def _die_with_parent() -> None:
    """In the child, before it becomes the command: be asked to end if the guardian itself is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended meanwhile: what was wanted


def _signal_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # nobody is left in it


if __name__ == "__main__":
    sys.exit(guard(sys.argv[2:], grace_seconds=float(sys.argv[1]), lifeline=sys.stdin.fileno()))
