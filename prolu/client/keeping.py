"""What `client.runs` and `client.sweeps` have in common: tags, notes, pins, the archive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar
from uuid import UUID

from prolu.client.errors import Conflict
from prolu.client.http import Http, path_id
from prolu.client.wire import DecisionPatch, RunRead, SweepRead
from prolu.spec import validate

Kept = TypeVar("Kept", bound="RunRead | SweepRead")

# Of several who change the tags of one run at once, one is first each time.
_MOST_MEETINGS = 10


class Keeping(Generic[Kept]):
    """Say something of what is there; nothing of it changes what is trained."""

    def __init__(self, http: Http, collection: str, model: type[Kept]) -> None:
        self._http = http
        self._collection = collection
        self._model = model

    def tag(self, identity: UUID | str, *tags: str, remove: Iterable[str] = ()) -> Kept:
        """File it under tags, each a `key` or `key:value`, and no longer under those in `remove`; the others stay.

        Raises SpecError for what is no tag, Forbidden, NotFound.

        Example: `client.runs.tag(run.id, "baseline", "paper:figure-3", remove=["draft"])`.
        """
        gone = {*remove}
        for meeting in range(1, _MOST_MEETINGS + 1):
            seen, etag = self._http.tagged(self._path(identity), self._model)
            wanted = sorted(({*seen.tags} | {*tags}) - gone)
            try:
                return self._keep(identity, {"tags": wanted}, if_match=etag)
            except Conflict as error:  # somebody else was first
                if error.problem.status != _CHANGED or meeting == _MOST_MEETINGS:
                    raise
        raise AssertionError("the last meeting returns or raises")

    def note(self, identity: UUID | str, text: str) -> Kept:
        """Say something of it, in Markdown, in place of what was said; an empty text takes that away.

        Raises SpecError, Forbidden, NotFound.

        Example: `client.runs.note(run.id, "Best at *equal* L0; see figure 3.")`.
        """
        return self._keep(identity, {"note": text})

    def pin(self, identity: UUID | str) -> Kept:
        """Keep its checkpoints whatever a policy of deletion says. Raises Forbidden, NotFound.

        Example: `client.runs.pin(run.id)`.
        """
        return self._keep(identity, {"pinned": True})

    def unpin(self, identity: UUID | str) -> Kept:
        """Leave its checkpoints to policies of deletion again. Raises Forbidden, NotFound.

        Example: `client.runs.unpin(run.id)`.
        """
        return self._keep(identity, {"pinned": False})

    def archive(self, identity: UUID | str) -> Kept:
        """Leave it out of lists, with a sweep all its runs. Raises Conflict if it has not ended, Forbidden, NotFound.

        Example: `client.sweeps.archive(sweep.id)`.
        """
        return self._keep(identity, {"archived": True})

    def unarchive(self, identity: UUID | str) -> Kept:
        """Take it out of the archive. Raises Forbidden, NotFound.

        Example: `client.sweeps.unarchive(sweep.id)`.
        """
        return self._keep(identity, {"archived": False})

    def _keep(self, identity: UUID | str, said: dict[str, Any], *, if_match: str | None = None) -> Kept:
        return self._http.patch(self._path(identity), self._model, validate(said, DecisionPatch), if_match=if_match)

    def _path(self, identity: UUID | str) -> str:
        return f"{self._collection}/{path_id(identity)}"


_CHANGED = 412
