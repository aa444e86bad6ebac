"""Keep a few child processes running: start them in order, restart what dies, stop them in reverse order.

    waiting -> starting -> ready        a child starts once those it comes `after` are ready
       ^__________|__________|          it died: again after a delay that doubles; too many quick deaths end everything

Each child runs under a guardian of its own (see there), which ends all that the child started. Knows nothing of what the
children are. Signals and waiting only, no threads: run it from the main thread.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from prolu.client.up import guardian

_CHECK_SECONDS = 0.1
_TAIL_LINES = 15
_KILL_SECONDS = 10.0
_REFUSAL = 2  # the exit status of a child that no restart can help
_LARGEST_LOG_BYTES = 20_000_000
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class GivenUp(Exception):
    """A child cannot be kept alive; the message says which, and ends with the tail of its log."""


class WrongSettings(GivenUp):
    """A child refuses what it was told, as it would at every start; the message ends with its own sentence."""


@dataclass(frozen=True)
class Child:
    """One process to keep alive."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    grace_seconds: float
    """Time between the wish to end and SIGKILL."""
    ready: Callable[[str], bool] = lambda _log: True
    """Whether it can do its work, given what it has logged since its start; asked every tenth of a second meanwhile."""
    ready_seconds: float = 90.0
    may_be_late: bool = False
    """Whether it counts as ready after `ready_seconds` without being so, with a line that says so; else everything ends."""
    after: tuple[str, ...] = ()
    """Children that must be ready before this one starts."""
    falls_with: tuple[str, ...] = ()
    """Children whose death ends this one too, to start anew with them."""


@dataclass(frozen=True)
class Patience:
    """When a child that keeps dying is given up."""

    quick_seconds: float = 10.0
    """A life shorter than this counts as a quick death."""
    quick_deaths: int = 5
    """So many quick deaths in a row are too many."""
    first_delay_seconds: float = 0.5
    """Before the restart after a first death; doubles with every quick one."""
    longest_delay_seconds: float = 30.0


@dataclass
class _Life:
    """Where one child is in its life."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    ready: bool = False
    felled: bool = False
    quick_deaths: int = 0
    log_start: int = field(default=0)


class Supervisor:
    """Runs children until a signal asks it to stop."""

    def __init__(
        self,
        children: Sequence[Child],
        *,
        say: Callable[[str], None],
        patience: Patience | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        """`say` prints one line for people; the file descriptors `keep_open` stay open in every guardian."""
        self._lives = {child.name: _Life(child) for child in children}
        self._say = say
        self._patience = patience or Patience()
        self._keep_open = tuple(keep_open)
        self._stops: list[int] = []
        self._wakeup = -1
        self._lifeline = -1

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start everything, call `on_ready` once when all are ready, and return when a signal has stopped all of it.

        Raises GivenUp, with everything stopped, if a child dies too often or does not become ready; WrongSettings at once if
        one ends with exit status 2.
        """
        guardian.adopt_orphans()
        reader, writer = os.pipe()
        try:
            self._lifeline = reader
            with self._listening():
                try:
                    self._tend_until_stopped(on_ready)
                finally:
                    self._stop_all()
        finally:
            os.close(writer)
            os.close(reader)

    def _tend_until_stopped(self, on_ready: Callable[[], None]) -> None:
        announced = False
        while not self._stops:
            self._bury()
            self._start_due()
            self._ask_ready()
            pending = [life for life in self._lives.values() if not life.ready]
            if not pending and not announced:
                announced = True
                on_ready()
            self._wait(_CHECK_SECONDS if pending else None)

    def _bury(self) -> None:
        """Note who has died, fell those that depend on them, and set the time of their next start."""
        for life in self._lives.values():
            if life.process is None or (status := life.process.poll()) is None:
                continue
            self._end_strays()
            life.process, life.ready = None, False
            if life.felled:
                life.felled = False
                life.start_at = time.monotonic()
                continue
            if status == _REFUSAL:
                raise WrongSettings(f"{life.child.name} refuses what it was told: {_last_words(life)}")
            lasted = time.monotonic() - life.started_at
            life.quick_deaths = life.quick_deaths + 1 if lasted < self._patience.quick_seconds else 0
            if life.quick_deaths >= self._patience.quick_deaths:
                raise GivenUp(
                    f"{life.child.name} died {life.quick_deaths} times in a row, each time within "
                    f"{self._patience.quick_seconds:g} s of its start; the end of {life.child.log}:\n{_tail(life)}"
                )
            delay = min(
                self._patience.first_delay_seconds * 2 ** max(0, life.quick_deaths - 1),
                self._patience.longest_delay_seconds,
            )
            life.start_at = time.monotonic() + delay
            self._say(
                f"{life.child.name} ended ({_cause(status)}) after {lasted:.0f} s; starting it again in {delay:g} s "
                f"(log: {life.child.log})"
            )
            self._fell_dependents(life.child.name)

    def _fell_dependents(self, name: str) -> None:
        for other in self._lives.values():
            if name in other.child.falls_with and other.process is not None and not other.felled:
                other.felled = True
                other.ready = False
                self._say(f"{other.child.name} is restarted with {name}")
                other.process.send_signal(signal.SIGUSR1)

    def _start_due(self) -> None:
        for life in self._lives.values():
            waits = any(not self._lives[name].ready for name in life.child.after)
            if life.process is None and not waits and time.monotonic() >= life.start_at:
                self._start(life)

    def _start(self, life: _Life) -> None:
        child = life.child
        child.log.parent.mkdir(parents=True, exist_ok=True)
        if child.log.exists() and child.log.stat().st_size > _LARGEST_LOG_BYTES:
            child.log.replace(child.log.with_suffix(".old.log"))
        with child.log.open("ab") as log:
            life.log_start = log.tell()
            life.process = subprocess.Popen(  # noqa: S603 our own arguments
                [sys.executable, "-I", "-S", guardian.__file__, str(child.grace_seconds), *child.argv],
                stdin=self._lifeline,
                stdout=log,
                stderr=log,
                env=dict(child.env),
                pass_fds=self._keep_open,
                start_new_session=True,
            )
        life.started_at = time.monotonic()

    def _ask_ready(self) -> None:
        for life in self._lives.values():
            if life.process is None or life.ready or life.felled:
                continue
            if life.child.ready(_logged(life)):
                life.ready = True
            elif time.monotonic() - life.started_at <= life.child.ready_seconds:
                continue
            elif life.child.may_be_late:
                life.ready = True
                self._say(f"{life.child.name} is not ready yet; it goes on, see {life.child.log}")
            else:
                raise GivenUp(
                    f"{life.child.name} did not become ready within {life.child.ready_seconds:g} s; "
                    f"the end of {life.child.log}:\n{_tail(life)}"
                )

    def _stop_all(self) -> None:
        """End the children, last first; a further signal ends all of them at once."""
        asked = len(self._stops)
        for life in reversed(list(self._lives.values())):
            if life.process is None:
                continue
            if life.process.poll() is None:
                self._say(f"stopping {life.child.name} (at most {life.child.grace_seconds:g} s)")
                life.process.send_signal(signal.SIGTERM)
            while life.process.poll() is None:
                self._wait(_CHECK_SECONDS)
                if len(self._stops) > asked:
                    asked = len(self._stops)
                    for other in self._lives.values():
                        if other.process is not None:
                            other.process.send_signal(signal.SIGUSR1)
        self._end_strays()

    def _end_strays(self) -> None:
        """End what a guardian that was itself killed left behind: below us, but below no living guardian."""
        guardians = {
            life.process.pid
            for life in self._lives.values()
            if life.process is not None and life.process.poll() is None
        }

        def strays() -> set[int]:
            kept = guardians.union(*(guardian.descendants(pid) for pid in guardians))
            return guardian.descendants(os.getpid()) - kept

        _kill_all(strays)

    def _wait(self, seconds: float | None) -> None:
        """Sleep until a signal comes (a child's death is one) or the time is over."""
        readable, _, _ = select.select([self._wakeup], [], [], seconds)
        if readable:
            os.read(self._wakeup, 64)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        self._wakeup = reader
        before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        before = {
            number: signal.signal(number, lambda number, _frame: self._stops.append(number))
            for number in _STOP_SIGNALS
            if not (number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN)  # started by nohup
        }
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_fd)
            os.close(reader)
            os.close(writer)


def _kill_all(alive: Callable[[], set[int]]) -> None:
    """SIGKILL until nothing is left; only what was killed is reaped, so that the guardians' own statuses stay theirs."""
    deadline = time.monotonic() + _KILL_SECONDS
    killed: set[int] = set()
    while left := alive():
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= left
        if time.monotonic() > deadline:
            raise GivenUp(f"Processes {sorted(left)} do not end; look at them with ps and end them by hand.")
        time.sleep(0.02)
    for pid in killed:
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _cause(status: int) -> str:
    number = -status if status < 0 else status - 128
    if number in {int(known) for known in signal.valid_signals()}:
        return f"signal {signal.strsignal(number)}"
    return f"exit status {status}"


def _tail(life: _Life) -> str:
    lines = _logged(life).splitlines()
    return "\n".join(f"  | {line}" for line in lines[-_TAIL_LINES:]) or "  | (it wrote nothing)"


def _last_words(life: _Life) -> str:
    """What it wrote if that is one line, else the tail of it."""
    lines = _logged(life).strip().splitlines()
    return lines[0] if len(lines) == 1 else f"the end of {life.child.log}:\n{_tail(life)}"


def _logged(life: _Life) -> str:
    """What the child has written since its last start."""
    with life.child.log.open("rb") as log:
        log.seek(life.log_start)
        return log.read().decode(errors="replace")
