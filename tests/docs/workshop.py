"""A service whose runs really train, in threads of this process instead of on Ray: a real dispatcher, real actors."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from prolu.client.wire import NodeRead
from prolu.spec import ResourcesSpec
from prolu.spec.report import StopReason
from service.settings import Settings
from service.store.db import Database
from tests.client.desk import Running, running_service
from workers.actor import PackActor
from workers.cluster import Loss
from workers.dispatcher import Dispatcher
from workers.messages import Acks, Assignment, Attempt, Reply, Surroundings

_AT_ONCE = 2


class Workshop:
    """A cluster of one node that is this process."""

    def __init__(self) -> None:
        self._actors: dict[str, PackActor] = {}

    def nodes(self) -> list[NodeRead]:
        return [NodeRead(name="here", cpus=_AT_ONCE, gpus=0, memory_gb=64)]

    def names(self) -> set[str]:
        return set(self._actors)

    def start(
        self,
        name: str,
        assignments: Sequence[Assignment],
        surroundings: Surroundings,
        resources: ResourcesSpec,
        *,
        nodes: Sequence[str] = (),
    ) -> None:
        self._actors[name] = PackActor(list(assignments), surroundings, node="here", end_process=lambda: None)

    def attach(self, name: str) -> bool:
        return name in self._actors

    def poll(self, acks: Mapping[str, Acks], *, timeout: float) -> Iterator[tuple[str, Reply | Loss]]:
        for name, ack in acks.items():
            yield name, self._actors[name].poll(dict(ack))

    def stop(self, name: str, attempt: Attempt, reason: StopReason) -> None:
        self._actors[name].stop(attempt, reason)

    def kill(self, name: str) -> None:
        self._actors.pop(name, None)


@contextmanager
def working_service(folder: Path, *, database_url: str = "") -> Iterator[Running]:
    """A service below `folder` with a dispatcher that trains what is submitted."""
    with running_service(folder, database_url=database_url) as running:
        settings = Settings(data_dir=folder, database_url=database_url, poll_seconds=0.05, hub="offline")
        database = Database(settings.database_url)
        ended = threading.Event()
        dispatcher = threading.Thread(target=Dispatcher(database, Workshop(), settings).run, args=[ended])
        dispatcher.start()
        try:
            yield running
        finally:
            ended.set()
            dispatcher.join()
            database.dispose()
