"""The Ray actor that trains a pack of attempts and answers polls. Knows no SQL and calls no HTTP API of ours.

Each attempt trains in a thread of its own, so that polls and stops are answered at once. Nothing leaves the process
but messages (when polled) and files below the attempt's own prefix: an actor that nobody polls cannot do harm, and one
that nobody has polled for `orphan_seconds` checkpoints and ends its process.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from prolu import __version__
from prolu.spec import RunSpec
from prolu.spec.report import (
    CheckpointWritten,
    Failed,
    FailureClass,
    LogLines,
    MetricPoint,
    Outcome,
    Progress,
    Report,
    Stopped,
    StopReason,
)
from workers.capture import Capture, LogBook
from workers.gang import Member
from workers.messages import Acks, Assignment, Attempt, Reply, Surroundings
from workers.outbox import Outbox

log = logging.getLogger(__name__)

_TRACEBACK_CHARACTERS = 4_000
# How torch begins its complaint: the file and line of its allocator.
_ALLOCATOR = re.compile(r"^.*?DefaultCPUAllocator: ")
# An orphan that has not ended by itself after this long is stuck, and its process ends all the same.
_LAST_CHECKPOINT_SECONDS = 120.0
# For the end of a gang to be found out: by the thread that trains of why, by the watch of the thread that is stuck.
_VERDICT_SECONDS = 10.0


class Trainee:
    """One attempt at work: its thread, its outbox and its wish to stop."""

    def __init__(
        self,
        assignment: Assignment,
        surroundings: Surroundings,
        orphaned: Callable[[], bool],
        *,
        node: str,
        member: Member | None,
    ) -> None:
        self.attempt = assignment.attempt
        self.outbox = Outbox(assignment.attempt)
        self.book = LogBook(self.outbox.put, rank=None if member is None else member.rank)
        self._node = node
        self._assignment = assignment
        self._surroundings = surroundings
        self._orphaned = orphaned
        self._stop: StopReason | None = None
        self._step = 0
        self._member = member
        self._verdict: Failed | None = None
        self._judged = threading.Event()
        self._ending = threading.Lock()
        self._ended = False

    def begin(self, capture: Capture) -> None:
        """Train in a thread of its own, whose log lines `capture` collects."""
        self._capture = capture
        self.thread = threading.Thread(target=self._work, name=str(self.attempt), daemon=True)
        self.thread.start()
        if self._member is not None and self._member.leads:
            ears = (self.attempt, self._lose, self._pass_on)
            threading.Thread(target=self._member.watch, args=ears, name="gang-watch", daemon=True).start()

    def stop(self, reason: StopReason) -> None:
        """Ask the attempt to checkpoint and end; the first reason counts."""
        self._stop = self._stop or reason

    def _should_stop(self) -> StopReason | None:
        return self._stop or ("orphaned" if self._orphaned() else None)

    def _work(self) -> None:
        with self.book.of_this_thread():
            outcome = self._outcome()
        if self._member is not None and self._member.leads:
            self._member.hear_out()
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        """Say the outcome, unless one was said."""
        with self._ending:
            if not self._ended:
                self._ended = True
                self._capture.close(self.book)  # before the outcome, after which nobody listens
                self.outbox.put(outcome)

    def _pass_on(self, lines: LogLines) -> None:
        """Report what another rank logged as said by this attempt, under the same fence; nothing after its outcome."""
        with self._ending:
            if not self._ended:
                self.outbox.put(lines)

    def _lose(self, verdict: Failed) -> None:
        """End because of another rank, from which this one's thread may wait for ever."""
        self._verdict = verdict.model_copy(update={"step": self._step})
        self._judged.set()
        self.thread.join(_VERDICT_SECONDS)
        self._end(self._verdict)

    def _outcome(self) -> Outcome:
        self.outbox.put(Progress(phase="preparing", done=0, total=0))
        try:
            return self._train()
        except MemoryError as error:
            return self._failed("host_oom", f"The node ran out of memory: {error}.")
        except OSError as error:
            return self._failed("storage", f"Reading or writing files failed: {error}.")
        except RuntimeError as error:
            if "can't allocate memory" not in str(error):
                return self._failed("internal_error", f"{type(error).__name__}: {error}")
            return self._failed(
                "host_oom", f"The node has too little memory for this run: {_ALLOCATOR.sub('', str(error))}"
            )
        except Exception as error:  # whatever else ends the attempt is its outcome, not the actor's end
            return self._failed("internal_error", f"{type(error).__name__}: {error}")

    def _train(self) -> Outcome:
        # Imported here: torch takes seconds, and the actor must answer polls meanwhile.
        import torch

        from prolu.data.opening import open_source
        from prolu.data.places import DataError, Interrupted, Places
        from prolu.models.ranks import ALONE
        from prolu.training import CheckpointStore, train
        from prolu.training.gang import GangBrokenError

        spec = RunSpec.model_validate_json(self._assignment.spec)
        torch.set_num_threads(spec.resources.cpus)
        device = "cuda" if spec.resources.gpus > 0 else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            return self._failed("ray_infra", "The run asks for a GPU, and torch sees none on this node.")
        self._tell_beginning(spec, device, torch.__version__)
        places = Places.of(
            Path(self._surroundings.cache_dir),
            self._surroundings.data_roots,
            hub_online=self._surroundings.hub_online,
        )
        ranks = ALONE
        try:
            if self._member is not None:
                ranks = self._member.join(device)
            source = open_source(
                spec.data,
                places=places,
                notify=self.outbox.put,
                should_stop=lambda: self._should_stop() is not None,
            )
            log.info("The data are open: %d numbers wide, %s.", source.d_in, source.identity)
            outcome = train(
                spec,
                source,
                checkpoints=CheckpointStore(
                    self._surroundings.artifact_root, f"runs/{self.attempt.run_id}/e{self.attempt.epoch}"
                ),
                sink=self._sink,
                should_stop=self._should_stop,
                resume_from=self._assignment.resume_from,
                device=device,
                ranks=ranks,
            )
        except Interrupted:
            return Stopped(step=self._step, reason=self._should_stop() or "preempt")
        except DataError as error:
            outcome = self._failed("user_error", str(error))
        except GangBrokenError as error:
            return self._broken(error)
        except BaseException:
            ranks.close()
            raise
        if isinstance(outcome, Failed):
            ranks.close()
        return outcome

    def _broken(self, error: Exception) -> Outcome:
        """What ended the gang is for the leader's watch to say; another rank just ends."""
        if self._member is not None and self._member.leads:
            self._judged.wait(_VERDICT_SECONDS)
            return self._verdict or self._failed("ray_infra", str(error))
        return Stopped(step=self._step, reason="orphaned")

    def _sink(self, report: Report) -> None:
        # Progress comes only so often; what is measured or written at a step says as well that it was trained.
        match report:
            case Progress(phase="training"):
                self._step = max(self._step, report.done)
            case MetricPoint() | CheckpointWritten():
                self._step = max(self._step, report.step)
        if not self._ended:
            self.outbox.put(report)

    def _failed(self, failure_class: FailureClass, message: str) -> Failed:
        ours = failure_class != "user_error"
        log.error("Step %d: failed (%s): %s", self._step, failure_class, message, exc_info=ours)
        tail = traceback.format_exc()[-_TRACEBACK_CHARACTERS:] if ours else ""
        return Failed(step=self._step, failure_class=failure_class, message=message, traceback_tail=tail)

    def _tell_beginning(self, spec: RunSpec, device: str, torch_version: str) -> None:
        origin = "from the start" if self._assignment.resume_from is None else f"from {self._assignment.resume_from}"
        versions = f"prolu {__version__}, torch {torch_version}, Python {platform.python_version()}"
        log.info(
            "Attempt %d of run %s trains %s on node %s, device %s, %d threads, process %d: %s.",
            self.attempt.epoch,
            self.attempt.run_id,
            origin,
            self._node,
            device,
            spec.resources.cpus,
            os.getpid(),
            versions,
        )


class PackActor:
    """Trains the attempts of one pack. Made into a Ray actor by `workers.cluster`; a plain class for tests."""

    def __init__(
        self,
        assignments: Sequence[Assignment],
        surroundings: Surroundings,
        *,
        node: str,
        devices: Sequence[str] = (),
        own_process: bool = False,
        member: Member | None = None,
        end_process: Callable[[], None] = lambda: os._exit(0),
    ) -> None:
        """`devices` names the GPUs that it was given, for as long as it lives.

        `own_process` says that nothing else is done in this process: whatever it prints is the attempts', then.

        `member` makes it one rank of its only attempt.
        """
        self._node = node
        self._devices = tuple(devices)
        self._orphan_seconds = surroundings.orphan_seconds
        self._polled_at = time.monotonic()
        self._end_process = end_process
        self._member = member
        self._trainees = {
            assignment.attempt: Trainee(assignment, surroundings, self._orphaned, node=node, member=member)
            for assignment in assignments
        }
        self._capture = Capture([trainee.book for trainee in self._trainees.values()], own_process=own_process)
        self._capture.begin()
        for trainee in self._trainees.values():
            trainee.begin(self._capture)
        threading.Thread(target=self._end_when_orphaned, name="orphan-watch", daemon=True).start()

    def poll(self, acks: Acks) -> Reply:
        """Return what has happened since `acks`. Whoever polls vouches that the attempts are still wanted."""
        self._polled_at = time.monotonic()
        self._capture.send()
        messages = [
            message
            for attempt, trainee in self._trainees.items()
            for message in trainee.outbox.pending(acks.get(attempt, 0))
        ]
        if self._member is None:
            return Reply(self._node, messages, devices=(self._devices,))
        nodes, devices = self._member.nodes(), self._member.devices()
        return Reply(self._node, messages, (self._node, *nodes), (self._devices, *devices))

    def stop(self, attempt: Attempt, reason: StopReason) -> None:
        """Ask one attempt to checkpoint and end; an attempt that is not of this pack is nobody's business here."""
        trainee = self._trainees.get(Attempt(*attempt))
        if trainee is not None:
            trainee.stop(reason)

    def join(self) -> None:
        """Wait until every attempt has ended."""
        for trainee in self._trainees.values():
            trainee.thread.join()

    def pid(self) -> int:
        """The process that trains."""
        return os.getpid()

    def _orphaned(self) -> bool:
        return time.monotonic() - self._polled_at > self._orphan_seconds

    def _end_when_orphaned(self) -> None:
        waiting = threading.Event()
        while not self._orphaned():
            waiting.wait(min(1.0, self._orphan_seconds / 4))
        for trainee in self._trainees.values():
            trainee.thread.join(_LAST_CHECKPOINT_SECONDS)
        self._end_process()
