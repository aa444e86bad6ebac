"""Lines to named actors: look one up, ask it for news, and say what Ray means when it does not answer.

The dispatcher holds lines to the actors of attempts, and the leading rank of a gang to the actors of the others.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions

from prolu.spec.report import FailureClass
from workers.messages import Acks, Reply

# Answers are collected in rounds, each over all that are waited for: a round for each answer would take n^2 steps.
_ROUND_SECONDS = 0.05

_CAUSE_CHARACTERS = 400
_EXIT_CAUSE_CHARACTERS = 2_000


@dataclass(frozen=True)
class Loss:
    """An actor that will answer no more, and what Ray says of it."""

    failure_class: FailureClass
    message: str
    exit_cause: str | None = None
    """How the process ended, in Ray's words: signal or exit code, as far as it knows, and which process it was."""


class Lines:
    """Handles of actors in one namespace, by name, with the questions that they have not answered yet."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._handles: dict[str, Any] = {}
        self._asked: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The handle of an attached actor."""
        return self._handles[name]

    def add(self, name: str, handle: Any) -> None:
        """Attach an actor that was just started."""
        self._handles[name] = handle

    def attach(self, name: str) -> bool:
        """Whether the actor is at hand; looks it up in the cluster if this process did not start it."""
        if name not in self._handles:
            try:
                self._handles[name] = ray.get_actor(name, namespace=self._namespace)
            except ValueError:
                return False
        return True

    def poll(self, acks: Mapping[str, Acks], *, timeout: float) -> Iterator[tuple[str, Reply | Loss]]:
        """Ask every named actor for news and yield what comes within `timeout` seconds.

        An actor that has not answered yet is not asked again: its old answer may come with a later call. An answer is
        yielded within 50 ms of its coming. Takes O(n) steps for n actors, and O(n) for each round of 50 ms in which some
        are still waited for.
        """
        for name, ack in acks.items():
            if name not in self._asked and name in self._handles:  # not in hand: it has been ended meanwhile
                self._asked[name] = self._handles[name].poll.remote(dict(ack))
        deadline = time.monotonic() + timeout
        while self._asked:
            left = deadline - time.monotonic()
            names = {reference: name for name, reference in self._asked.items()}
            answered, _ = ray.wait(list(names), num_returns=len(names), timeout=max(0.0, min(left, _ROUND_SECONDS)))
            for reference in answered:
                name = names[reference]
                if name not in self._asked:
                    continue  # ended by whoever heard the one before
                del self._asked[name]
                answer = _answer(reference)
                if name in acks and answer is not None:
                    yield name, answer
            if left <= 0:
                return

    def kill(self, name: str) -> None:
        """End the actor's process now, and forget it."""
        if self.attach(name):
            ray.kill(self._handles.pop(name), no_restart=True)
        self._asked.pop(name, None)


def _answer(reference: Any) -> Reply | Loss | None:
    try:
        reply: Reply = ray.get(reference)
    except ray.exceptions.ActorUnavailableError:
        return None  # out of reach for the moment; the lease decides how long a moment is
    except ray.exceptions.OutOfMemoryError as error:
        message = f"Ray ended the worker because its node ran out of memory: {cause(error)}"
        return Loss("host_oom", message, _exit_cause(error))
    except ray.exceptions.ActorDiedError as error:
        if "its node has died" in str(error):
            return Loss("node_lost", f"The node died: {cause(error)}", _exit_cause(error))
        return Loss("ray_infra", f"The worker process died: {cause(error)}", _exit_cause(error))
    except ray.exceptions.RayError as error:
        return Loss("ray_infra", f"Ray lost the worker: {cause(error)}")  # how its process ended, nobody saw
    return reply


def cause(error: Exception) -> str:
    """The part of Ray's message that tells, on one line: without the actor's identity and the list of common causes."""
    told = [line.strip() for line in str(error).splitlines() if not line.startswith("\t")]
    text = " ".join(told).split(" Some common causes")[0]
    return text.removeprefix("The actor died unexpectedly before finishing this task. ")[:_CAUSE_CHARACTERS]


def _exit_cause(error: Exception) -> str:
    """All that Ray's message says, on one line: with the process and the list of common causes, without Ray's own numbers."""
    told = [line.strip() for line in str(error).splitlines()]
    useful = [line for line in told if not line.startswith(("class_name:", "actor_id:", "namespace:"))]
    return " ".join(useful)[:_EXIT_CAUSE_CHARACTERS]
