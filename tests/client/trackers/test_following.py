"""Runs that change while they are exported, and many of them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from prolu.client import Client
from prolu.client.cli.app import FAILED
from prolu.client.trackers import ExportFailed, TensorBoard, exporting
from prolu.client.trackers.rows import Row
from prolu.client.trackers.tracker import Book, Subject
from prolu.spec.report import MetricPoint
from tests.client.conftest import Prolu
from tests.client.desk import SWEEP, Desk, Running
from tests.client.trackers.conftest import Told
from tests.client.trackers.test_tensorboard import read, series


def test_following_a_sweep_brings_the_end_of_a_run_that_another_took_the_place_of(
    client: Client, desk: Desk, tmp_path: Path
) -> None:
    sweep = client.sweeps.submit(SWEEP)
    failing, *others = desk.claim()
    looks = []

    def look(exported: Any) -> None:
        looks.append(len(exported))
        assert len(looks) < 4, "it goes on for ever"
        if len(looks) > 1:
            return
        desk.report(failing, MetricPoint(split="train", step=5, tokens=50, values={"l0": 9.0}))
        desk.fail(failing)
        client.sweeps.retry_failed(sweep.id)
        for run in [*others, *desk.claim()]:
            desk.train(run)

    exported = client.track(sweep.id, to=TensorBoard(tmp_path), follow=True, poll_seconds=0.01, on_look=look)
    assert looks == [4, 5]
    assert [(one.last_step, one.ended) for one in exported if one.run_id == failing] == [(5, True)]


class Between(httpx.HTTPTransport):
    """Lets the run tell more between the request for its metrics and that for its snapshots, once."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = [happens]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/bias_statistics") and self._happens:
            self._happens.pop()()
        return super().handle_request(request)


def test_metrics_that_come_while_a_live_run_is_read_are_exported_later(
    service: Running, live: Told, tmp_path: Path
) -> None:
    transport = Between(lambda: live.tell(100, 150))
    with Client(service.url, service.token, transport=transport) as client:
        (first,) = client.track(live.id, to=TensorBoard(tmp_path))
        assert first.last_step == 50
        live.end()
        client.track(live.id, to=TensorBoard(tmp_path))
    board = read(tmp_path)
    assert [step for step, _ in series(board, "train/l0")] == [0, 25, 50, 75, 100, 150]
    assert [event.step for event in board.Histograms("bias")] == [0, 50, 100, 150]


class Shelf:
    """A tracker that keeps nothing, and knows how many of its books were open at once."""

    failures: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        self.opened = self.open_now = self.most_open = 0

    def open(self, subject: Subject) -> Book:
        self.opened += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        return Counted(self)


class Counted:
    """One of its books."""

    place = "shelf"

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.last_step = -1

    def write(self, rows: Sequence[Row]) -> None:
        self.last_step = rows[-1].step

    def close(self, subject: Subject) -> None:
        self._shelf.open_now -= 1


def test_runs_that_have_not_begun_open_no_book(client: Client, desk: Desk) -> None:
    sweep, shelf = client.sweeps.submit(SWEEP), Shelf()
    exported = client.track(sweep.id, to=shelf)
    assert [(one.place, one.rows, one.last_step, one.ended) for one in exported] == [("", 0, -1, False)] * 4
    assert shelf.opened == 0


def test_an_export_has_one_book_open_at_a_time(client: Client, desk: Desk) -> None:
    sweep, shelf = client.sweeps.submit(SWEEP), Shelf()
    desk.claim()
    client.track(sweep.id, to=shelf)
    assert (shelf.opened, shelf.most_open, shelf.open_now) == (4, 1, 0)


def test_following_keeps_only_so_many_books_open(client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "_MOST_OPEN", 2)
    sweep, shelf = client.sweeps.submit(SWEEP), Shelf()
    runs = desk.claim()
    looks = []

    def look(exported: Any) -> None:
        looks.append(shelf.open_now)
        if len(looks) == 1:
            for run in runs:
                desk.train(run)

    exported = client.track(sweep.id, to=shelf, follow=True, poll_seconds=0.01, on_look=look)
    assert (looks, shelf.most_open, shelf.opened) == ([2, 0], 3, 6)
    assert all(one.ended and one.last_step == 100 for one in exported)


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(
    client: Client, ended: Told, prolu: Prolu, tmp_path: Path
) -> None:
    (tmp_path / "boards").write_text("a file")
    with pytest.raises(ExportFailed, match=r"The export broke off: .*boards.*The same export again goes on"):
        client.track(ended.id, to=TensorBoard(tmp_path / "boards"))
    status, _, err = prolu("track", str(ended.id), "--to", "tensorboard:boards")
    assert (status, "The export broke off" in err) == (FAILED, True)
