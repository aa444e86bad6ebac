"""Event files, read back by TensorBoard's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from prolu.client import Client
from prolu.client.trackers import TensorBoard
from prolu.spec.report import MetricPoint
from tests.client.desk import SWEEP, Desk
from tests.client.trackers.conftest import Told


def read(folder: Path) -> Any:
    (path,) = folder.rglob("events.out.tfevents.*")
    return EventAccumulator(str(path), size_guidance={"histograms": 0, "scalars": 0}).Reload()


def series(board: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in board.Scalars(tag)]


def test_metrics_stand_at_their_steps_at_times_that_the_record_knows(
    client: Client, ended: Told, tmp_path: Path
) -> None:
    (exported,) = client.track(ended.id, to=TensorBoard(tmp_path))
    board = read(tmp_path)
    assert series(board, "train/l0") == [(0, 0.0), (25, 12.5), (50, 25.0), (75, 37.5), (100, 50.0)]
    assert series(board, "held_out/fvu") == [(100, 0.25)]
    assert series(board, "final/l0") == [(100, 8.0)]
    assert series(board, "tokens")[-1] == (100, 1000)
    assert (exported.rows, exported.last_step, exported.ended) == (5, 100, True)
    run = client.runs.get(ended.id)
    assert run.finished_at is not None
    times = [event.wall_time for event in board.Scalars("train/l0")]
    assert times == sorted(times)
    assert run.created_at.timestamp() <= times[0] < times[-1] <= run.finished_at.timestamp()


def test_numbers_that_are_not_finite_are_gaps(client: Client, live: Told, tmp_path: Path) -> None:
    values = {"l0": float("nan"), "fvu": float("inf"), "loss": 0.5}
    live.desk.report(live.id, MetricPoint(split="train", step=90, tokens=900, values=values))
    live.end()
    client.track(live.id, to=TensorBoard(tmp_path))
    board = read(tmp_path)
    assert [step for step, _ in series(board, "train/l0")] == [0, 25, 50, 75]
    assert series(board, "train/loss") == [(90, 0.5)]


def test_histograms_have_the_bins_of_the_service(client: Client, ended: Told, tmp_path: Path) -> None:
    client.track(ended.id, to=TensorBoard(tmp_path))
    drawn = read(tmp_path).Histograms("bias")
    assert [event.step for event in drawn] == [0, 50, 100]
    last, served = drawn[-1].histogram_value, client.runs.biases(ended.id, last=1)[0].statistics.all
    assert [last.min, *last.bucket_limit] == served.bias.histogram.edges
    assert [*last.bucket] == served.bias.histogram.counts
    assert served.bias.std is not None
    assert (last.num, last.sum, last.sum_squares) == (32, -32.0, 32 * (1.0 + served.bias.std**2))


def test_the_spec_is_told_as_hyperparameters_and_the_end_as_their_status(
    client: Client, ended: Told, tmp_path: Path
) -> None:
    client.track(ended.id, to=TensorBoard(tmp_path))
    board = read(tmp_path)
    start = HParamsPluginData.FromString(board.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    told = start.session_start_info.hparams
    assert told["sae.kind"].string_value == "prolu"
    assert told["sparsity.coefficient"].number_value == 0.001
    end = HParamsPluginData.FromString(board.SummaryMetadata("_hparams_/session_end_info").plugin_data.content)
    assert end.session_end_info.status == 1  # STATUS_SUCCESS
    (about,) = board.Tensors("prolu")
    assert "baseline, figure:3" in about.tensor_proto.string_val[0].decode()


def test_an_export_of_what_was_exported_changes_nothing(client: Client, ended: Told, tmp_path: Path) -> None:
    client.track(ended.id, to=TensorBoard(tmp_path))
    (path,) = tmp_path.rglob("events.*")
    before = path.read_bytes()
    (again,) = client.track(ended.id, to=TensorBoard(tmp_path))
    assert again.rows == 0
    assert path.read_bytes() == before


def test_a_live_run_is_exported_but_for_the_step_that_may_not_be_whole_yet(
    client: Client, live: Told, tmp_path: Path
) -> None:
    (first,) = client.track(live.id, to=TensorBoard(tmp_path))
    assert (first.rows, first.last_step, first.ended) == (3, 50, False)
    live.tell(100)
    live.end()
    (then,) = client.track(live.id, to=TensorBoard(tmp_path))
    assert (then.rows, then.last_step, then.ended) == (2, 100, True)
    assert [step for step, _ in series(read(tmp_path), "train/l0")] == [0, 25, 50, 75, 100]


@pytest.mark.parametrize("lost", [1, 40, 2000])
def test_what_a_broken_export_left_half_written_is_cut_off_and_written_again(
    client: Client, ended: Told, tmp_path: Path, lost: int
) -> None:
    client.track(ended.id, to=TensorBoard(tmp_path))
    (path,) = tmp_path.rglob("events.*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    client.track(ended.id, to=TensorBoard(tmp_path))
    assert path.read_bytes() == whole


def test_following_ends_with_the_run(client: Client, live: Told, tmp_path: Path) -> None:
    seen = []

    def look(exported: Any) -> None:
        seen.append(exported[0].last_step)
        if len(seen) == 1:
            live.tell(100)
        if len(seen) == 2:
            live.end()

    client.track(live.id, to=TensorBoard(tmp_path), follow=True, poll_seconds=0.01, on_look=look)
    assert seen == [50, 75, 100]
    assert series(read(tmp_path), "held_out/l0") == [(100, 8.0)]


def test_a_sweep_is_exported_run_by_run_in_folders_of_their_own(client: Client, desk: Desk, tmp_path: Path) -> None:
    sweep = client.sweeps.submit(SWEEP)
    failing, *others = desk.claim()
    desk.fail(failing)
    for other in others:
        desk.train(other)
    exported = client.track(sweep.id, to=TensorBoard(tmp_path))
    assert {one.run_id for one in exported} == {failing, *others}
    assert all(one.ended for one in exported)
    assert len({Path(one.place).parent for one in exported}) == 4
