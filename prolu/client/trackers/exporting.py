"""Bring runs into the books of a tracker: all that is there, once, and with `follow` what comes until they have ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from uuid import UUID

from prolu.client.errors import NotFound
from prolu.client.http import Http, path_id
from prolu.client.trackers.moments import when_of
from prolu.client.trackers.rows import Row, rows_of
from prolu.client.trackers.tracker import Book, ExportFailed, Subject, Tracker
from prolu.client.wire import AttemptRead, BiasSnapshotRead, CheckpointRead, MetricRead, RunRead, RunSummary, SweepRead

_ENDED = frozenset({"succeeded", "failed", "cancelled"})
# Books that stay open between two looks. Each may hold a file, and a process has as few as 256 of them.
_MOST_OPEN = 64


@dataclass(frozen=True)
class Exported:
    """What became of one run."""

    run_id: UUID
    """The run."""
    place: str
    """Where it is now: a file, a folder or an address; empty of a run that has not begun, which is nowhere yet."""
    rows: int
    """Steps that were added; 0 where all was there before."""
    last_step: int
    """Step of the last row that is there; -1 of none."""
    ended: bool
    """Whether the run has ended, so that nothing more comes."""


class Exporter:
    """Books of one tracker, opened as runs are met and begin; up to `most_open` stay open until their run has ended."""

    def __init__(self, http: Http, tracker: Tracker, *, most_open: int) -> None:
        self._http = http
        self._tracker = tracker
        self._most_open = most_open
        # A package that is missing is told before anything is asked.
        self._failures: tuple[type[Exception], ...] = (*tracker.failures, OSError)
        self._sweep_names: dict[UUID, str] = {}
        self._books: dict[UUID, tuple[Book, Subject]] = {}
        self.exported: dict[UUID, Exported] = {}

    def look(self, runs: Iterable[UUID]) -> bool:
        """Bring what there is of runs to their books, and say whether all have ended. Raises ExportFailed.

        Runs of earlier looks are brought to their end, even if they are no more among `runs`: another took their place.
        """
        with self._told():
            for run in dict.fromkeys([*runs, *self.exported]):
                if run not in self.exported or not self.exported[run].ended:
                    self._bring(run)
        return all(one.ended for one in self.exported.values())

    def close(self) -> None:
        """Close what is still open, every book even if one fails. Raises ExportFailed."""
        with self._told(), ExitStack() as books:
            for book, subject in self._books.values():
                books.callback(book.close, subject)
            self._books.clear()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell in our words what the tracker's package raises, and what the disk does."""
        try:
            yield
        except self._failures as error:
            said = str(error).strip().partition("\n")[0] or type(error).__name__
            raise ExportFailed(
                f"The export broke off: {said.rstrip('.')}. The same export again goes on where it stopped."
            ) from error

    def _bring(self, run_id: UUID) -> None:
        run = self._http.get(f"/v1/runs/{run_id}", RunRead)  # before its series: what it says has ended is whole
        ended = run.state in _ENDED
        if run.epoch == 0 and not ended:
            self.exported[run_id] = Exported(run_id, "", 0, -1, ended)
            return
        subject = Subject(run, self._sweep_name(run), f"{self._http.place.url}/v1/runs/{run.id}")
        book = self._books[run_id][0] if run_id in self._books else self._tracker.open(subject)
        self._books[run_id] = (book, subject)
        rows = self._rows(run, book.last_step)
        if rows:
            book.write(rows)
        before = self.exported[run_id].rows if run_id in self.exported else 0
        if ended or len(self._books) > self._most_open:
            del self._books[run_id]
            book.close(subject)
        self.exported[run_id] = Exported(run_id, book.place, before + len(rows), book.last_step, ended)

    def _rows(self, run: RunRead, after: int) -> list[Row]:
        """Rows beyond a step.

        Of a live run the newest step waits for the next look, since it may still lack its held-out part; so do snapshots beyond
        the newest metrics: those of their steps may have come since metrics were asked for.
        """
        live = run.state not in _ENDED
        of = f"/v1/runs/{run.id}"
        points = [*self._http.pages(f"{of}/metrics", MetricRead, {"from_step": str(after + 1)})]
        latest = self._http.pages(f"{of}/bias_statistics", BiasSnapshotRead, {"order": "desc"})
        snapshots = [*takewhile(lambda snapshot: snapshot.step > after, latest)]
        if live:
            newest = max((point.step for point in points), default=after)
            snapshots = [snapshot for snapshot in snapshots if snapshot.step <= newest]
        if not points and not snapshots:
            return []
        attempts = self._http.pages(f"{of}/attempts", AttemptRead)
        checkpoints = self._http.pages(f"{of}/checkpoints", CheckpointRead)
        rows = rows_of(points, snapshots, when_of(run, attempts, checkpoints))
        return rows[:-1] if live else rows

    def _sweep_name(self, run: RunRead) -> str | None:
        if run.sweep_id is None:
            return None
        if run.sweep_id not in self._sweep_names:
            found = self._http.get(f"/v1/sweeps/{run.sweep_id}", SweepRead)
            self._sweep_names[run.sweep_id] = found.name or f"sweep {str(found.id)[-8:]}"
        return self._sweep_names[run.sweep_id]


class Wanted:
    """The runs and sweeps that were named: ids of either kind."""

    def __init__(self, http: Http, things: Iterable[UUID | str]) -> None:
        """Ask which is which. Raises NotFound, ValueError for what is no id."""
        self._http = http
        self._runs: list[UUID] = []
        self._sweeps: list[UUID] = []
        for thing in map(path_id, things):
            try:
                self._runs.append(http.get(f"/v1/runs/{thing}", RunRead).id)
            except NotFound:
                self._sweeps.append(http.get(f"/v1/sweeps/{thing}", SweepRead).id)

    def runs(self) -> list[UUID]:
        """Those named, and those of sweeps that no other took the place of; each once."""
        of_sweeps = [
            run.id
            for sweep in self._sweeps
            for run in self._http.pages(f"/v1/sweeps/{sweep}/runs", RunSummary)
            if not run.superseded
        ]
        return [*dict.fromkeys(self._runs + of_sweeps)]

    def is_whole(self) -> bool:
        """Whether no search will submit more runs."""
        found = [self._http.get(f"/v1/sweeps/{sweep}", SweepRead).search for sweep in self._sweeps]
        return all(search is None or search.state == "ended" for search in found)


def export(
    http: Http,
    things: Iterable[UUID | str],
    to: Tracker,
    *,
    follow: bool,
    poll_seconds: float,
    sleep: Callable[[float], None],
    on_look: Callable[[list[Exported]], None],
) -> list[Exported]:
    """Export runs and those of sweeps, with `follow` again and again until all have ended and no more come."""
    wanted = Wanted(http, things)
    exporter = Exporter(http, to, most_open=_MOST_OPEN if follow else 0)
    try:
        while True:
            with http.patiently():
                no_more = wanted.is_whole()  # before the runs: one that comes in between is met at the next look
                over = exporter.look(wanted.runs())
            on_look([*exporter.exported.values()])
            if not follow or (over and no_more):
                return [*exporter.exported.values()]
            sleep(poll_seconds)
    finally:
        exporter.close()
