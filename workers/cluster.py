"""Every call to Ray but those of `workers.lines` and `workers.errands`.

The dispatcher sees names, replies and losses; never a Ray object.

Ray's signals are hints: what counts is the fenced row in the database. Actors are detached and named after their
attempt, so that a new dispatcher finds those of an old one; they are never restarted by Ray, whose retries would be
a second queue behind the first.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import ray
import ray.exceptions
import ray.util
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from prolu.client.wire import NodeRead
from prolu.spec import ResourcesSpec
from prolu.spec.report import StopReason
from service.domain.node_names import address_of
from workers.actor import PackActor
from workers.errands import Errands
from workers.gang import Member, Seat
from workers.lines import Lines, Loss
from workers.messages import Acks, Assignment, Attempt, ChoreAnswer, ChoreOrder, Reply, Surroundings

__all__ = ["CLUSTER_LOST", "CannotStart", "Cluster", "Loss", "RayCluster", "TrainingActor"]

_GIB = 2**30
_ACCELERATOR = "accelerator_type:"
# As much of a resource as shows that a node has it.
_TOUCH = 0.001
# Between two looks for reservations that nobody has ended.
_LOOK_SECONDS = 10.0
# How the actors of ranks but the first are named, after the first one.
_RANK = re.compile(r"-r\d+$")


# What Ray raises where its head or our connection to it is out of reach, for a moment or for good.
CLUSTER_LOST: tuple[type[Exception], ...] = (ray.exceptions.RayError, ConnectionError, TimeoutError)


class CannotStart(Exception):
    """Ray refuses to start an actor for this run; another run may well be started."""


class Cluster(Protocol):
    """What the dispatcher needs of a cluster; `RayCluster` is the real one."""

    def nodes(self) -> list[NodeRead]: ...

    def names(self) -> set[str]: ...

    def start(
        self,
        name: str,
        assignments: Sequence[Assignment],
        surroundings: Surroundings,
        resources: ResourcesSpec,
        *,
        nodes: Sequence[str] = (),
    ) -> None: ...

    def attach(self, name: str) -> bool: ...

    def poll(self, acks: Mapping[str, Acks], *, timeout: float) -> Iterator[tuple[str, Reply | Loss]]: ...

    def stop(self, name: str, attempt: Attempt, reason: StopReason) -> None: ...

    def kill(self, name: str) -> None: ...

    def order(self, name: str, order: ChoreOrder, node: str) -> None: ...

    def answers(self) -> Iterator[tuple[str, ChoreAnswer]]: ...

    def recall(self, name: str) -> None: ...


class RayCluster:
    """A Ray cluster that was started elsewhere: by `prolu up`, or by the operator."""

    def __init__(self, address: str, namespace: str) -> None:
        # Placement groups are found by name in the namespace of the connection.
        ray.init(
            address=address,
            namespace=namespace,
            log_to_driver=False,
            logging_level="warning",
            ignore_reinit_error=True,
        )
        self._namespace = namespace
        self._actor_class = ray.remote(TrainingActor)
        self._lines = Lines(namespace)
        self._errands = Errands()
        self._ids: dict[str, str] = {}
        self._reservations: set[str] = set()
        self._looked_at = float("-inf")

    def nodes(self) -> list[NodeRead]:
        """The nodes that are alive, with all that they offer, busy or not."""
        alive = [
            (_node_name(node["NodeManagerAddress"], node["NodeID"]), node) for node in ray.nodes() if node["Alive"]
        ]
        self._ids = {name: node["NodeID"] for name, node in alive}
        return [
            NodeRead(
                name=name,
                cpus=node["Resources"].get("CPU", 0.0),
                gpus=node["Resources"].get("GPU", 0.0),
                gpu_type=_gpu_type(node["Resources"]),
                memory_gb=node["Resources"].get("memory", 0.0) / _GIB,
            )
            for name, node in alive
        ]

    def names(self) -> set[str]:
        """The attempts that have actors in our namespace, or room reserved for them, whoever started them; a gang is one.

        What is reserved outlives the actors where they die while nobody hears them: it is looked for every 10 s.
        """
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            groups = ray.util.placement_group_table().values()
            self._reservations = {group["name"] for group in groups if _is_ours(group)}
            self._looked_at = time.monotonic()
        everywhere = ray.util.list_named_actors(all_namespaces=True)
        ours = {_RANK.sub("", actor["name"]) for actor in everywhere if actor["namespace"] == self._namespace}
        self._reservations = {name for name in self._reservations if name in ours or _stands(name)}
        return ours | self._reservations

    def start(
        self,
        name: str,
        assignments: Sequence[Assignment],
        surroundings: Surroundings,
        resources: ResourcesSpec,
        *,
        nodes: Sequence[str] = (),
    ) -> None:
        """Ask Ray for an actor, or for one of each rank; they come up in the background. Raises CannotStart.

        `nodes` names the node of each rank, by the plan; where it is empty, or a node has gone, Ray chooses. The actor,
        the first of a gang, answers the first poll when it has come up.
        """
        try:
            options = partial(
                self._actor_class.options,
                namespace=self._namespace,
                lifetime="detached",
                max_restarts=0,
                max_task_retries=0,
                num_cpus=resources.cpus,
                num_gpus=resources.gpus,
                memory=int(resources.memory_gb * _GIB),
                accelerator_type=resources.gpu_type,
            )
            if resources.ranks == 1:
                where = self._on_node(nodes[0]) if nodes else None
                placed = options(name=name, scheduling_strategy=where)
                self._lines.add(name, placed.remote(list(assignments), surroundings))
            else:
                self._start_gang(name, list(assignments), surroundings, resources, options, nodes)
        except (ValueError, TypeError) as error:  # how Ray says that it does not take the options
            raise CannotStart(str(error)) from error

    def _start_gang(
        self,
        name: str,
        assignments: list[Assignment],
        surroundings: Surroundings,
        resources: ResourcesSpec,
        options: Callable[..., Any],
        nodes: Sequence[str],
    ) -> None:
        """Reserve room for all ranks at once, where the plan says or on few nodes, and start an actor in each place.

        The first rank comes last: whoever finds it finds the others too.
        """
        place = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": int(resources.memory_gb * _GIB)}
        if resources.gpu_type is not None:
            place[f"{_ACCELERATOR}{resources.gpu_type}"] = _TOUCH
        offered = {kind: amount for kind, amount in place.items() if amount}
        known = nodes if set(nodes) <= self._ids.keys() else ()
        places = [offered | {_at(node): _TOUCH} for node in known] or [offered] * resources.ranks
        reserved = ray.util.placement_group(places, strategy="PACK", name=name, lifetime="detached")
        names = (name, *(f"{name}-r{rank}" for rank in range(1, resources.ranks)))
        for rank in reversed(range(resources.ranks)):
            where = PlacementGroupSchedulingStrategy(reserved, placement_group_bundle_index=rank)
            seated = options(name=names[rank], scheduling_strategy=where)
            handle = seated.remote(assignments, surroundings, Seat(rank, names), self._namespace)
        self._lines.add(name, handle)

    def _on_node(self, node: str) -> NodeAffinitySchedulingStrategy | None:
        """Nowhere but on this node, unless it is not known any more."""
        node_id = self._ids.get(node)
        return None if node_id is None else NodeAffinitySchedulingStrategy(node_id, soft=False)

    def attach(self, name: str) -> bool:
        """Whether the actor is at hand; looks it up in the cluster if this process did not start it."""
        return self._lines.attach(name)

    def poll(self, acks: Mapping[str, Acks], *, timeout: float) -> Iterator[tuple[str, Reply | Loss]]:
        """Ask every named actor for news, as `Lines.poll` does."""
        return self._lines.poll(acks, timeout=timeout)

    def stop(self, name: str, attempt: Attempt, reason: StopReason) -> None:
        """Ask one attempt to checkpoint and end; its outcome comes with a later poll."""
        if self.attach(name):
            self._lines[name].stop.remote(attempt, reason)

    def pid(self, name: str) -> int:
        """The process of an actor, on whatever node it is."""
        if not self.attach(name):
            raise ValueError(f"There is no actor {name}.")
        process: int = ray.get(self._lines[name].pid.remote())
        return process

    def kill(self, name: str) -> None:
        """End the actor's process now, with those of the other ranks if it leads a gang, and forget it."""
        self._lines.kill(name)
        self._reservations.discard(name)
        try:
            reserved = ray.util.get_placement_group(name)
        except ValueError:  # how Ray says that there is none: of a single rank
            return
        ray.util.remove_placement_group(reserved)  # ends whatever runs in it

    def order(self, name: str, order: ChoreOrder, node: str) -> None:
        """Have a chore done on a node. Raises CannotStart where that node has gone."""
        if node not in self._ids:
            raise CannotStart(f"the node {node} has gone")
        self._errands.order(name, order, self._ids[node])

    def answers(self) -> Iterator[tuple[str, ChoreAnswer]]:
        """What has come of chores since the last call, as `Errands.answers` does."""
        return self._errands.answers()

    def recall(self, name: str) -> None:
        """End a chore."""
        self._errands.end(name)


class TrainingActor(PackActor):
    """A pack that names its node as `RayCluster.nodes` does, and its GPUs as Ray does; or one rank of a gang."""

    def __init__(
        self,
        assignments: Sequence[Assignment],
        surroundings: Surroundings,
        seat: Seat | None = None,
        namespace: str = "",
    ) -> None:
        context, host = ray.get_runtime_context(), ray.util.get_node_ip_address()
        self._member = seat and Member(
            seat, OtherRanks(namespace), host=host, patience_seconds=surroundings.orphan_seconds
        )
        super().__init__(
            assignments,
            surroundings,
            node=_node_name(host, context.get_node_id()),
            devices=sorted(context.get_accelerator_ids().get("GPU", [])),
            own_process=True,
            member=self._member,
            end_process=_end_process,
        )

    def come(self, host: str, port: int) -> None:
        """Hear from the leader where the ranks meet."""
        if self._member is not None:
            self._member.come(host, port)


class OtherRanks(Lines):
    """The leader's lines to the other ranks."""

    def call(self, name: str, host: str, port: int) -> None:
        """Tell a rank where to meet; if it is not up yet, Ray tells it then."""
        self[name].come.remote(host, port)


def _end_process() -> None:
    """End this process, and of a gang all of it, with what is reserved for it."""
    reserved = ray.util.get_current_placement_group()
    if reserved is not None:
        ray.util.remove_placement_group(reserved)
    os._exit(0)


def _is_ours(group: Mapping[str, Any]) -> bool:
    """Whether a placement group stands, and in our namespace, where alone it is found by name."""
    return group["state"] != "REMOVED" and bool(group["name"]) and _stands(group["name"])


def _stands(name: str) -> bool:
    """Whether room is reserved under this name."""
    try:
        ray.util.get_placement_group(name)
    except ValueError:  # how Ray says that there is none
        return False
    return True


def _gpu_type(resources: Mapping[str, float]) -> str | None:
    return next((key.removeprefix(_ACCELERATOR) for key in sorted(resources) if key.startswith(_ACCELERATOR)), None)


def _at(node: str) -> str:
    """The resource by which Ray knows the address of a node of ours."""
    return f"node:{address_of(node)}"


def _node_name(address: str, node_id: str) -> str:
    return f"{address}/{node_id[:8]}"
