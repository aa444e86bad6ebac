"""`client.chores`: small jobs that the cluster does with a checkpoint; `client.checkpoints` asks for them and waits."""

from __future__ import annotations

import time
from collections.abc import Callable

from prolu.client.errors import ChoreFailed, WaitedTooLong
from prolu.client.http import Http, path_id
from prolu.client.runs import Identity
from prolu.client.wire import ChoreRead, ExportRequest
from prolu.spec import validate
from prolu.spec.run import ExportFormat

_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.25, 2.0


class Chores:
    """Exports, and statistics computed again, of the checkpoints that you may see."""

    def __init__(self, http: Http, sleep: Callable[[float], None] = time.sleep) -> None:
        self._http = http
        self._sleep = sleep

    def get(self, chore: Identity) -> ChoreRead:
        """One of them: where it is, and what came of it. Raises NotFound.

        Example: `client.chores.get(chore.id).state`.
        """
        return self._http.get(f"/v1/chores/{path_id(chore)}", ChoreRead)

    def export(self, checkpoint: Identity, *, layout: ExportFormat = "sae_lens") -> ChoreRead:
        """Ask for an export; the same one is made once, whoever asks. Raises Conflict, Forbidden, NotFound.

        Example: `client.chores.export(checkpoint.id, layout="sae_lens").id`.
        """
        path = f"/v1/checkpoints/{path_id(checkpoint)}/exports"
        return self._http.post(path, ChoreRead, validate({"format": layout}, ExportRequest))

    def recompute(self, checkpoint: Identity) -> ChoreRead:
        """Ask for the bias statistics of a checkpoint, computed again. Raises Conflict, Forbidden, NotFound.

        Example: `client.chores.recompute(checkpoint.id).id`.
        """
        return self._http.post(f"/v1/checkpoints/{path_id(checkpoint)}:recompute", ChoreRead)

    def wait(
        self,
        chore: Identity | ChoreRead,
        *,
        timeout: float | None = None,
        on_look: Callable[[ChoreRead], None] = lambda _chore: None,
    ) -> ChoreRead:
        """Return it once it is done; `on_look` hears of each look before.

        Raises ChoreFailed with the reason, WaitedTooLong after `timeout` seconds with what it waits for.

        Example: `client.chores.wait(chore.id, timeout=600)`.
        """
        found = chore if isinstance(chore, ChoreRead) else self.get(chore)
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _LOOK_SECONDS
        with self._http.patiently():
            while found.finished_at is None:
                on_look(found)
                if deadline is not None and time.monotonic() >= deadline:
                    why = f" {found.message}" if found.message else ""
                    raise WaitedTooLong(f"Chore {found.id} is {found.state} after {timeout:g} s.{why}")
                self._sleep(pause)
                pause = min(2 * pause, _LONGEST_LOOK_SECONDS)
                found = self.get(found.id)
        if found.state == "failed":
            raise ChoreFailed(f"The {found.kind} of checkpoint {found.checkpoint_id} failed: {found.message}")
        return found
