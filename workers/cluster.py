"""Every call to Ray. The dispatcher sees names, replies and losses; never a Ray object.

Ray's signals are hints: what counts is the fenced row in the database. Actors are detached and named after their
attempt, so that a new dispatcher finds those of an old one; they are never restarted by Ray, whose retries would be
a second queue behind the first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ray
import ray.exceptions
import ray.util

from prolu.client.wire import NodeRead
from prolu.spec import ResourcesSpec
from prolu.spec.report import FailureClass, StopReason
from workers.actor import PackActor
from workers.messages import Acks, Assignment, Attempt, Reply, Surroundings

_GIB = 2**30
_CAUSE_CHARACTERS = 400
_EXIT_CAUSE_CHARACTERS = 2_000


@dataclass(frozen=True)
class Loss:
    """An actor that will answer no more, and what Ray says of it."""

    failure_class: FailureClass
    message: str
    exit_cause: str | None = None
    """How the process ended, in Ray's words: signal or exit code, as far as it knows, and which process it was."""


class CannotStart(Exception):
    """Ray refuses to start an actor for this run; another run may well be started."""


class Cluster(Protocol):
    """What the dispatcher needs of a cluster; `RayCluster` is the real one."""

    def nodes(self) -> list[NodeRead]: ...

    def names(self) -> set[str]: ...

    def start(
        self, name: str, assignments: Sequence[Assignment], surroundings: Surroundings, resources: ResourcesSpec
    ) -> None: ...

    def attach(self, name: str) -> bool: ...

    def poll(self, acks: Mapping[str, Acks], *, timeout: float) -> Iterator[tuple[str, Reply | Loss]]: ...

    def stop(self, name: str, attempt: Attempt, reason: StopReason) -> None: ...

    def kill(self, name: str) -> None: ...


class RayCluster:
    """A Ray cluster that was started elsewhere: by `prolu up`, or by the operator."""

    def __init__(self, address: str, namespace: str) -> None:
        ray.init(address=address, log_to_driver=False, logging_level="warning", ignore_reinit_error=True)
        self._namespace = namespace
        self._actor_class = ray.remote(TrainingActor)
        self._handles: dict[str, Any] = {}
        self._polls: dict[Any, str] = {}

    def nodes(self) -> list[NodeRead]:
        """The nodes that are alive, with all that they offer, busy or not."""
        return [
            NodeRead(
                name=_node_name(node["NodeManagerAddress"], node["NodeID"]),
                cpus=node["Resources"].get("CPU", 0.0),
                gpus=node["Resources"].get("GPU", 0.0),
                memory_gb=node["Resources"].get("memory", 0.0) / _GIB,
            )
            for node in ray.nodes()
            if node["Alive"]
        ]

    def names(self) -> set[str]:
        """The actors that live in our namespace, whoever started them."""
        everywhere = ray.util.list_named_actors(all_namespaces=True)
        return {actor["name"] for actor in everywhere if actor["namespace"] == self._namespace}

    def start(
        self, name: str, assignments: Sequence[Assignment], surroundings: Surroundings, resources: ResourcesSpec
    ) -> None:
        """Ask Ray for an actor; it comes up in the background and answers the first poll when it has. Raises CannotStart."""
        try:
            options = self._actor_class.options(
                name=name,
                namespace=self._namespace,
                lifetime="detached",
                max_restarts=0,
                max_task_retries=0,
                num_cpus=resources.cpus,
                num_gpus=resources.gpus,
                memory=int(resources.memory_gb * _GIB),
            )
            self._handles[name] = options.remote(list(assignments), surroundings)
        except (ValueError, TypeError) as error:  # how Ray says that it does not take the options
            raise CannotStart(str(error)) from error

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

        An actor that has not answered yet is not asked again: its old answer may come with a later call.
        """
        asked = set(self._polls.values())
        for name, ack in acks.items():
            if name not in asked:
                self._polls[self._handles[name].poll.remote(dict(ack))] = name
        deadline = time.monotonic() + timeout
        while self._polls:
            remaining = max(0.0, deadline - time.monotonic())
            ready, _ = ray.wait(list(self._polls), num_returns=1, timeout=remaining)
            if not ready:
                return
            name = self._polls.pop(ready[0])
            answer = self._answer(ready[0])
            if name in acks and answer is not None:
                yield name, answer

    def _answer(self, reference: Any) -> Reply | Loss | None:
        try:
            reply: Reply = ray.get(reference)
        except ray.exceptions.ActorUnavailableError:
            return None  # out of reach for the moment; the lease decides how long a moment is
        except ray.exceptions.OutOfMemoryError as error:
            message = f"Ray ended the worker because its node ran out of memory: {_cause(error)}"
            return Loss("host_oom", message, _exit_cause(error))
        except ray.exceptions.ActorDiedError as error:
            if "its node has died" in str(error):
                return Loss("node_lost", f"The node died: {_cause(error)}", _exit_cause(error))
            return Loss("ray_infra", f"The worker process died: {_cause(error)}", _exit_cause(error))
        except ray.exceptions.RayError as error:
            return Loss("ray_infra", f"Ray lost the worker: {_cause(error)}", _exit_cause(error))
        return reply

    def stop(self, name: str, attempt: Attempt, reason: StopReason) -> None:
        """Ask one attempt to checkpoint and end; its outcome comes with a later poll."""
        if self.attach(name):
            self._handles[name].stop.remote(attempt, reason)

    def pid(self, name: str) -> int:
        """The process of an actor, on whatever node it is."""
        process: int = ray.get(self._handles[name].pid.remote())
        return process

    def kill(self, name: str) -> None:
        """End the actor's process now, and forget it."""
        if self.attach(name):
            ray.kill(self._handles.pop(name), no_restart=True)
        for reference in [reference for reference, polled in self._polls.items() if polled == name]:
            del self._polls[reference]


class TrainingActor(PackActor):
    """A pack that names its node as `RayCluster.nodes` does."""

    def __init__(self, assignments: Sequence[Assignment], surroundings: Surroundings) -> None:
        context = ray.get_runtime_context()
        super().__init__(
            assignments,
            surroundings,
            node=_node_name(ray.util.get_node_ip_address(), context.get_node_id()),
            own_process=True,
        )


def _node_name(address: str, node_id: str) -> str:
    return f"{address}/{node_id[:8]}"


def _cause(error: Exception) -> str:
    """The part of Ray's message that tells, on one line: without the actor's identity and the list of common causes."""
    told = [line.strip() for line in str(error).splitlines() if not line.startswith("\t")]
    text = " ".join(told).split(" Some common causes")[0]
    return text.removeprefix("The actor died unexpectedly before finishing this task. ")[:_CAUSE_CHARACTERS]


def _exit_cause(error: Exception) -> str:
    """All that Ray's message says, on one line: with the process and the list of common causes, without Ray's own numbers."""
    told = [line.strip() for line in str(error).splitlines()]
    useful = [line for line in told if not line.startswith(("class_name:", "actor_id:", "namespace:"))]
    return " ".join(useful)[:_EXIT_CAUSE_CHARACTERS]
