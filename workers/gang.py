"""One rank's side of its gang: how it meets the others, and how the leader hears that one is lost. Knows no Ray.

    dispatcher ──poll──> rank 0 ──poll──> every other rank

The dispatcher knows rank 0 alone. That one calls the others to a meeting (a TCPStore on its node), polls them as it is
polled itself, passes on what they log, and ends the run when one of them fails, dies or falls silent. To be polled is to be
wanted, for all: a rank that its leader no longer polls is an orphan, and ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from prolu.spec.report import Failed, FailureClass, LogLines, LostWorker, Outcome
from workers.messages import Acks, Attempt, Reply, read_report

if TYPE_CHECKING:  # importing it takes seconds, and an actor must answer polls meanwhile
    from prolu.models.ranks import Ranks
    from workers.lines import Loss

_POLL_SECONDS = 1.0
# How long the leader waits, before it says how the attempt ended, for what the others have to say last; and how often it asks.
_LAST_WORDS_SECONDS = 2.0
_LAST_WORDS_POLL_SECONDS = 0.1


class Seat(NamedTuple):
    """The place of an actor in its gang."""

    rank: int
    names: tuple[str, ...]
    """The actors of all ranks, in order."""


class _Gone(NamedTuple):
    """A rank that is not there, of which Ray says nothing."""

    failure_class: FailureClass
    message: str
    exit_cause: str | None = None


class Others(Protocol):
    """What the leader needs of the other ranks' actors; `workers.cluster.OtherRanks` is the real one."""

    def attach(self, name: str) -> bool: ...

    def poll(self, acks: Mapping[str, Acks], *, timeout: float) -> Iterator[tuple[str, Reply | Loss]]: ...

    def call(self, name: str, host: str, port: int) -> None: ...


class Member:
    """One rank of a gang. `host` is its node's address; whoever is not heard of for `patience_seconds` counts as lost."""

    def __init__(self, seat: Seat, others: Others, *, host: str, patience_seconds: float) -> None:
        self.rank = seat.rank
        self._names = seat.names
        self._others = others
        self._host = host
        self._patience_seconds = patience_seconds
        self._called = threading.Event()
        self._meeting = (host, 0)
        self._places: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._acks = dict.fromkeys(seat.names[1:], 0)
        self._heard = dict.fromkeys(seat.names[1:], 0.0)
        self._speaking = set(seat.names[1:])
        self._over = threading.Event()
        self._heard_out = threading.Event()

    def nodes(self) -> tuple[str, ...]:
        """The nodes of the other ranks that the leader has heard of, in order of ranks."""
        return tuple(self._places[name][0] for name in self._names if name in self._places)

    def devices(self) -> tuple[tuple[str, ...], ...]:
        """The GPUs of the same ranks."""
        return tuple(self._places[name][1] for name in self._names if name in self._places)

    @property
    def leads(self) -> bool:
        """Whether this rank speaks for the gang."""
        return self.rank == 0

    def come(self, host: str, port: int) -> None:
        """Hear from the leader where the ranks meet."""
        self._meeting = (host, port)
        self._called.set()

    def join(self, device: str) -> Ranks:
        """Meet the others. Raises GangBrokenError if they are not all there in time."""
        from prolu.training.gang import Gang, GangBrokenError, find_store, open_store

        if self.leads:
            store = open_store(self._host)
            for name in self._names[1:]:
                if self._others.attach(name):  # if not, it is the watch that finds it lost
                    self._others.call(name, self._host, store.port)
        elif self._called.wait(self._patience_seconds):
            store = find_store(*self._meeting, patience_seconds=self._patience_seconds)
        else:
            raise GangBrokenError(f"The leading rank did not call within {self._patience_seconds:g} s.")
        return Gang(
            store,
            self.rank,
            len(self._names),
            host=self._host,
            patience_seconds=self._patience_seconds,
            device=device,
        )

    def watch(self, attempt: Attempt, lose: Callable[[Failed], None], tell: Callable[[LogLines], None]) -> None:
        """Poll the other ranks until one is lost or has failed, which `lose` is told; the leader's business.

        What they log goes to `tell`. Those that are left then may say their last, for 2 s at most.
        """
        self._heard = dict.fromkeys(self._heard, time.monotonic())
        failed = self._missing()
        while failed is None:
            failed = self._ask(attempt, tell, seconds=_POLL_SECONDS) or self._fallen_silent()
            if failed is None:
                self._wait()
        deadline = time.monotonic() + _LAST_WORDS_SECONDS
        while not self._heard_out.is_set() and time.monotonic() < deadline:
            self._ask(attempt, tell, seconds=_LAST_WORDS_POLL_SECONDS)
            self._heard_out.wait(_LAST_WORDS_POLL_SECONDS)
        lose(failed)

    def hear_out(self) -> None:
        """Wait until the watch has heard the last of every other rank, for 2 s at most."""
        self._over.set()
        self._heard_out.wait(_LAST_WORDS_SECONDS)

    def _ask(self, attempt: Attempt, tell: Callable[[LogLines], None], *, seconds: float) -> Failed | None:
        """Poll the others once, and give the first failure or loss that is heard of."""
        failed: Failed | None = None
        polled = {name: {attempt: ack} for name, ack in self._acks.items()}
        for name, answer in self._others.poll(polled, timeout=seconds):
            if not isinstance(answer, Reply):
                failed = failed or self._lost(name, answer)
                continue
            self._heard[name] = time.monotonic()
            self._places[name] = answer.node, next(iter(answer.devices), ())
            for message in answer.messages:
                self._acks[name], report = message.seq, read_report(message.report)
                if isinstance(report, LogLines):
                    tell(report)
                elif isinstance(report, Outcome):
                    self._has_ended(name)
                    if isinstance(report, Failed):
                        told = f"Rank {self._rank_of(name)}: {report.message}"
                        failed = failed or report.model_copy(update={"message": told})
        return failed

    def _wait(self) -> None:
        """Wait until it is time to ask again: sooner once the leader's training is over."""
        if self._heard_out.is_set():
            threading.Event().wait(_POLL_SECONDS)
        elif self._over.wait(_POLL_SECONDS):
            self._heard_out.wait(_LAST_WORDS_POLL_SECONDS)

    def _fallen_silent(self) -> Failed | None:
        for name, at in self._heard.items():
            if time.monotonic() - at > self._patience_seconds:
                return self._lost(name, _Gone("ray_infra", f"It has not answered for {self._patience_seconds:g} s."))
        return None

    def _has_ended(self, name: str) -> None:
        """Expect no more lines of a rank."""
        self._speaking.discard(name)
        if not self._speaking:
            self._heard_out.set()

    def _missing(self) -> Failed | None:
        for name in self._names[1:]:
            if not self._others.attach(name):
                return self._lost(name, _Gone("ray_infra", "The Ray cluster does not know its worker."))
        return None

    def _lost(self, name: str, how: Loss | _Gone) -> Failed:
        self._has_ended(name)
        node, _ = self._places.get(name, (None, ()))
        return Failed(
            step=0,
            failure_class=how.failure_class,
            message=f"Rank {self._rank_of(name)} of {len(self._names)} is lost: {how.message}",
            lost=LostWorker(node=node, exit_cause=how.exit_cause),
        )

    def _rank_of(self, name: str) -> int:
        return self._names.index(name)
