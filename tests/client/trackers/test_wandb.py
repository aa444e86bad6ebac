"""Weights & Biases offline: what it would send, read from its files."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from prolu.client import Client
from prolu.client.cli.app import FAILED
from prolu.client.trackers import WeightsAndBiases
from tests.client.conftest import Prolu
from tests.client.trackers.conftest import Told
from tests.client.trackers.offline_files import records


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> WeightsAndBiases:
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    return WeightsAndBiases("lab", entity="us", mode="offline", directory=tmp_path)


def read(folder: Path) -> tuple[Any, dict[str, list[tuple[int, Any]]], dict[str, Any]]:
    """The run, its history by name and its summary, over all its files."""
    import wandb

    wandb.teardown()  # its process writes what it has to the end
    run, history, summary = None, defaultdict(list), {}
    for path in sorted(folder.rglob("*.wandb")):
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run" and run is None:
                run = record.run
            if kind == "history":
                row = {
                    "/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item
                }
                for name, value in row.items():
                    history[name].append((record.history.step.num, value))
            if kind == "summary":
                summary |= {item.key: json.loads(item.value_json) for item in record.summary.update}
    return run, history, summary


def test_a_run_is_written_with_its_series_histograms_config_tags_and_end(
    client: Client, ended: Told, tracker: WeightsAndBiases, tmp_path: Path
) -> None:
    (exported,) = client.track(ended.id, to=tracker)
    run, history, summary = read(tmp_path)
    assert Path(exported.place).parent == tmp_path / "wandb"
    assert (run.run_id, run.project, run.entity) == (ended.id.hex, "lab", "us")
    assert [*run.tags] == ["baseline", "figure:3"]
    assert run.notes == "the **one** with the long warm-up"
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert (config["sae.kind"], config["sparsity.coefficient"]) == ("prolu", 0.001)
    assert history["train/l0"] == [(0, 0.0), (25, 12.5), (50, 25.0), (75, 37.5), (100, 50.0)]
    assert history["held_out/fvu"] == [(100, 0.25)]
    served = client.runs.biases(ended.id, last=1)[0].statistics.dead.threshold.histogram
    drawn = {part: history[f"histograms/threshold_dead/{part}"][-1] for part in ("_type", "bins", "values")}
    assert drawn == {"_type": (100, "histogram"), "bins": (100, served.edges), "values": (100, served.counts)}
    assert (summary["final/l0"], summary["state"]) == (8.0, "succeeded")
    finished = client.runs.get(ended.id).finished_at
    assert finished is not None
    assert history["_timestamp"][-1][1] <= finished.timestamp()


def test_exports_repeated_and_gone_on_with_double_no_point(
    client: Client, live: Told, tracker: WeightsAndBiases, tmp_path: Path
) -> None:
    added = [client.track(live.id, to=tracker)[0].rows]
    live.tell(100)
    live.end()
    added += [client.track(live.id, to=tracker)[0].rows for _ in range(2)]
    assert added == [3, 2, 0]
    assert [step for step, _ in read(tmp_path)[1]["train/l0"]] == [0, 25, 50, 75, 100]
    assert len([*tmp_path.glob("wandb/offline-run-*")]) == 2  # the one that had nothing new left nothing


def test_where_nobody_is_logged_in_it_is_told(
    prolu: Prolu, ended: Told, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("HOME", "WANDB_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    status, _, err = prolu("track", str(ended.id), "--to", "wandb:lab")
    assert status == FAILED
    assert err.startswith("prolu: The export broke off: No API key configured. Use `wandb login` to log in.")
