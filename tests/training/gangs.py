"""Ranks that exchange for real, by gloo, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from prolu.training.gang import Gang, find_store, open_store

HOST = "127.0.0.1"
T = TypeVar("T")


def together(count: int, work: Callable[[Gang], T]) -> list[T]:
    """Let each of `count` ranks do `work` at the same time, and return what came out, in the order of ranks."""
    store = open_store(HOST)
    gangs: list[Gang] = []  # none goes before all are done

    def one(rank: int) -> T:
        own = store if rank == 0 else find_store(HOST, store.port, patience_seconds=30.0)
        gang = Gang(own, rank, count, host=HOST, patience_seconds=30.0)
        gangs.append(gang)
        try:
            return work(gang)
        except BaseException:
            gang.close()
            raise

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
