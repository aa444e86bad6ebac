"""MLflow in a local database, read back by its own client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prolu.client import Client
from prolu.client.trackers import ExportFailed, MLflow
from tests.client.desk import SWEEP, Desk
from tests.client.trackers.conftest import Told

# Of mlflow's tables under SQLAlchemy 2.1, at import.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database for all tests here, since making its tables takes seconds; their runs differ."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)  # artifacts lie below the folder where an experiment is made


def run_of(uri: str, told: Told, experiment: str) -> tuple[Any, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    (run,) = client.search_runs([found.experiment_id], f"tags.`prolu.run_id` = '{told.id}'")
    return client, run


def test_a_run_is_there_with_its_series_parameters_tags_note_and_end(client: Client, ended: Told, uri: str) -> None:
    (exported,) = client.track(ended.id, to=MLflow(uri))
    there, run = run_of(uri, ended, "prolu")
    assert exported.place == f"run {run.info.run_id} of {uri}"
    points = [(one.step, one.value) for one in there.get_metric_history(run.info.run_id, "train/l0")]
    assert points == [(0, 0.0), (25, 12.5), (50, 25.0), (75, 37.5), (100, 50.0)]
    assert run.data.metrics["held_out/fvu"] == run.data.metrics["final/fvu"] == 0.25
    assert run.data.metrics["bias/fraction_negative"] == 0.9
    assert run.data.params["sae.kind"] == "prolu"
    assert float(run.data.params["sparsity.coefficient"]) == 0.001
    tags = run.data.tags
    assert (tags["tag.baseline"], tags["tag.figure"], tags["prolu.state"]) == ("", "3", "succeeded")
    assert tags["mlflow.note.content"] == "the **one** with the long warm-up"
    served = client.runs.get(ended.id)
    assert served.finished_at is not None
    assert (run.info.status, run.info.end_time) == ("FINISHED", int(served.finished_at.timestamp() * 1000))


def test_histograms_are_artifacts_by_step(client: Client, ended: Told, uri: str, tmp_path: Path) -> None:
    client.track(ended.id, to=MLflow(uri, experiment="with histograms"))
    there, run = run_of(uri, ended, "with histograms")
    listed = [one.path for one in there.list_artifacts(run.info.run_id, "biases")]
    assert listed == [f"biases/step-{step:08}.json" for step in (0, 50, 100)]
    last = json.loads(Path(there.download_artifacts(run.info.run_id, listed[-1], str(tmp_path))).read_text())
    served = client.runs.biases(ended.id, last=1)[0].statistics.alive.bias.histogram
    assert last["histograms"]["bias_alive"]["edges"] == served.edges
    assert last["histograms"]["bias_alive"]["counts"] == served.counts


def test_exports_repeated_and_gone_on_with_double_no_point(client: Client, live: Told, uri: str) -> None:
    tracker = MLflow(uri, experiment="twice")
    (first,) = client.track(live.id, to=tracker)
    _, run = run_of(uri, live, "twice")
    assert (first.last_step, run.info.status) == (50, "RUNNING")
    live.tell(100)
    live.end()
    added = [client.track(live.id, to=MLflow(uri, experiment="twice"))[0].rows for _ in range(2)]
    assert added == [2, 0]
    there, run = run_of(uri, live, "twice")
    for name, steps in (("train/l0", [0, 25, 50, 75, 100]), ("final/l0", [100])):
        assert [one.step for one in there.get_metric_history(run.info.run_id, name)] == steps


def test_a_sweep_is_an_experiment_whose_runs_end_as_theirs_did(client: Client, desk: Desk, uri: str) -> None:
    from mlflow import MlflowClient

    sweep = client.sweeps.submit({**SWEEP, "name": "a sweep"})
    failing, *others = desk.claim()
    desk.fail(failing)
    for other in others:
        desk.train(other)
    client.track(sweep.id, to=MLflow(uri))
    there = MlflowClient(tracking_uri=uri)
    runs = there.search_runs([there.get_experiment_by_name("a sweep").experiment_id])
    ended = {run.data.tags["prolu.run_id"]: run.info.status for run in runs}
    assert ended == {str(failing): "FAILED"} | {str(other): "FINISHED" for other in others}
    assert {run.data.params["sparsity.coefficient"] for run in runs} == {"0.001", "0.002"}


def test_what_mlflow_refuses_is_told_in_a_sentence(client: Client, ended: Told, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match=r"The export broke off: .* The same export again goes on"):
        client.track(ended.id, to=MLflow(f"file://{tmp_path}/mlruns"))
