"""The client does what it says, against the real app."""

from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from prolu.client import (
    Client,
    Conflict,
    DownloadFailed,
    Invalid,
    NotFound,
    Unauthorized,
    WaitedTooLong,
)
from prolu.client.wire import CheckpointRead
from prolu.spec import RunSpec, SpecError
from prolu.spec.report import CheckpointFile, Stopped
from tests.client.desk import RUN, SWEEP, WEIGHTS, Desk, Running


def finished_run(client: Client, desk: Desk) -> UUID:
    run = client.runs.submit(RUN)
    desk.claim()
    desk.train(run.id)
    return run.id


def test_a_run_is_submitted_as_plain_data_or_as_a_spec(client: Client) -> None:
    plain = client.runs.submit(RUN)
    typed = client.runs.submit(RunSpec.model_validate(RUN), priority=70)
    assert plain.state == typed.state == "queued"
    assert plain.digest == typed.digest
    assert client.runs.get(typed.id).spec == RunSpec.model_validate(RUN)
    assert client.runs.get(str(typed.id)).priority == 70


def test_a_misspelt_field_is_found_before_anything_is_sent(client: Client) -> None:
    with pytest.raises(SpecError, match="did you mean 'steps'"):
        client.runs.submit({**RUN, "training": {"stepz": 1}})
    assert client.runs.list() == []


def test_what_only_the_service_can_know_comes_back_with_its_place(client: Client) -> None:
    with pytest.raises(Invalid) as caught:
        client.runs.submit({**RUN, "data": {"kind": "shards", "path": "/nowhere"}})
    assert caught.value.problem.errors[0].pointer == "/spec/data/path"


def test_lists_go_from_page_to_page_and_can_be_narrowed(client: Client, desk: Desk) -> None:
    ids = [client.runs.submit(RUN).id for _ in range(3)]
    sweep = client.sweeps.submit(SWEEP)
    assert [run.id for run in client.runs.list()][-3:] == ids[::-1]
    assert len(client.runs.list(limit=2)) == 2
    assert len(client.runs.list(sweep=sweep.id)) == 4
    desk.claim()
    desk.train(ids[0])
    assert [run.id for run in client.runs.list(state="succeeded")] == [ids[0]]


def test_what_a_run_reported_can_be_read(client: Client, desk: Desk) -> None:
    run = finished_run(client, desk)
    assert client.runs.get(run).metrics == {"l0": 8.0, "fvu": 0.25, "dead_fraction": 0.0}
    assert [(point.step, point.values["l0"]) for point in client.runs.metrics(run)] == [(50, 9.0)]
    assert [snapshot.step for snapshot in client.runs.biases(run)] == [0, 50, 100]
    assert [snapshot.step for snapshot in client.runs.biases(run, last=2)] == [50, 100]
    assert [checkpoint.step for checkpoint in client.runs.checkpoints(run)] == [50, 100]
    assert [attempt.outcome for attempt in client.runs.attempts(run)] == ["succeeded"]
    assert {"submitted", "succeeded"} <= {event.kind for event in client.runs.events(run)}


def test_the_seconds_of_a_run_are_those_of_its_ended_attempts(client: Client, desk: Desk) -> None:
    run = client.runs.submit(RUN).id
    assert client.runs.attempt_seconds(run) == 0
    for seconds in (60, 30.5):
        desk.claim()
        desk.report(run, Stopped(step=0, reason="preempt"))
        desk.stretch(run, seconds)
    desk.claim()
    assert [one.outcome for one in client.runs.attempts(run)] == ["preempted", "preempted", None]
    assert client.runs.attempt_seconds(run) == 90.5


def test_waiting_ends_when_the_run_does_and_tells_every_look(service: Running) -> None:
    desk = service.desk
    seen: list[str] = []

    def instead_of_sleeping(_seconds: float) -> None:
        if len(seen) == 1:
            desk.claim()
        else:
            desk.train(run.id)

    with Client(service.url, service.token, sleep=instead_of_sleeping) as client:
        run = client.runs.submit(RUN)
        ended = client.runs.wait(run.id, on_update=lambda looked: seen.append(looked.state))
    assert ended.state == "succeeded"
    assert seen == ["queued", "starting", "succeeded"]


def test_waiting_in_vain_ends_too(service: Running) -> None:
    with Client(service.url, service.token, sleep=lambda _seconds: None) as client:
        run, sweep = client.runs.submit(RUN), client.sweeps.submit(SWEEP)
        with pytest.raises(WaitedTooLong, match=f"Run {run.id} is still queued after 0 s"):
            client.runs.wait(run.id, timeout_seconds=0)
        with pytest.raises(WaitedTooLong, match="4 of 4 runs have not ended"):
            client.sweeps.wait(sweep.id, timeout_seconds=0)


def test_cancelling_is_a_wish_and_too_late_after_the_end(client: Client, desk: Desk) -> None:
    run = client.runs.submit(RUN)
    assert client.runs.cancel(run.id).desired_state == "cancelled"
    done = finished_run(client, desk)
    with pytest.raises(Conflict, match="succeeded"):
        client.runs.cancel(done)


def test_a_sweep_is_previewed_submitted_and_read(client: Client, desk: Desk) -> None:
    preview = client.sweeps.preview(SWEEP)
    assert preview.count == 4
    assert client.sweeps.list() == []

    sweep = client.sweeps.submit(SWEEP)
    assert [run.variant for run in client.sweeps.runs(sweep.id)] == ["relu", "relu", "prolu", "prolu"]
    assert client.sweeps.list()[0].id == sweep.id
    for run in desk.claim():
        desk.train(run)
    assert client.sweeps.wait(sweep.id).states == {"succeeded": 4}
    results = client.sweeps.results(sweep.id)
    assert [row.set["sparsity.coefficient"] for row in results] == [0.001, 0.002, 0.001, 0.002]
    assert results[0].metrics["l0"] == 8.0
    assert results[0].bias["fraction_negative"] == 0.9


def test_the_queue_shows_what_works_and_what_waits(client: Client, desk: Desk) -> None:
    live = client.runs.submit(RUN)
    desk.claim()
    waits = client.runs.submit(RUN)
    desk.see_nodes()
    queue = client.queue()
    assert [entry.run.id for entry in queue.live] == [live.id]
    assert [(entry.position, entry.run.id) for entry in queue.waiting] == [(1, waits.id)]
    assert queue.nodes[0].cpus == 2
    assert client.runs.explain(waits.id).position == 1
    assert [share.waiting_runs for share in client.shares().shares] == [1]


def test_nodes_are_listed_drained_and_taken_back(client: Client, desk: Desk) -> None:
    desk.see_nodes()
    (node,) = client.nodes.list()
    assert client.nodes.drain(node.name, evict=True, reason="new disks").drain_reason == "new disks"
    assert [node.evicting for node in client.nodes.list()] == [True]
    client.nodes.undrain(node.name)
    assert [node.draining for node in client.nodes.list()] == [False]


def test_me_and_version_are_told(client: Client) -> None:
    assert client.me().role == "admin"
    assert client.version().database == "sqlite"


def test_without_a_good_token_nothing_is_told(service: Running) -> None:
    for token in (None, "wrong"):
        with Client(service.url, token) as client, pytest.raises(Unauthorized):
            client.runs.list()


def test_what_does_not_exist_is_not_found(client: Client) -> None:
    for look in (client.runs.get, client.sweeps.get, client.checkpoints.get, client.runs.attempts, client.runs.cancel):
        with pytest.raises(NotFound):
            look(uuid4())


class LosesFirstAnswer(httpx.BaseTransport):
    """Hands the first request to the service, and loses its answer on the way back."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport()
        self._lost = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if self._lost:
            return response
        self._lost = True
        response.read()
        response.close()
        raise httpx.ReadError("the answer was lost")

    def close(self) -> None:
        self._inner.close()


def test_a_submission_whose_answer_was_lost_is_not_submitted_twice(service: Running) -> None:
    with Client(service.url, service.token, transport=LosesFirstAnswer(), sleep=lambda _seconds: None) as client:
        run = client.runs.submit(RUN)
        assert [found.id for found in client.runs.list()] == [run.id]


def test_a_checkpoint_is_downloaded_whole_with_its_manifest(client: Client, desk: Desk, tmp_path: Path) -> None:
    checkpoint = client.runs.checkpoints(finished_run(client, desk))[-1]
    counted: list[int] = []
    target = client.checkpoints.download(checkpoint.id, tmp_path / "new" / "weights", on_bytes=counted.append)
    assert (target / "sae.safetensors").read_bytes() == WEIGHTS + b"100"
    assert {path.name for path in target.iterdir()} == {"config.json", "sae.safetensors", "manifest.json"}
    assert sum(counted) == checkpoint.bytes
    assert [path.name for path in target.parent.iterdir()] == ["weights"]


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (WEIGHTS + b"101", DownloadFailed),
        (WEIGHTS, Conflict),
        (WEIGHTS + b"100 and more", Conflict),
    ],
)
def test_a_file_that_differs_from_what_was_announced_leaves_nothing_behind(
    client: Client, desk: Desk, tmp_path: Path, damage: bytes, error: type[Exception]
) -> None:
    run = finished_run(client, desk)
    checkpoint = client.runs.checkpoints(run)[-1]
    (desk.artifacts / f"runs/{run}/e1/step-100/sae.safetensors").write_bytes(damage)
    folder = tmp_path / "downloads"
    folder.mkdir()
    with pytest.raises(error, match=r"sha256|was written with"):
        client.checkpoints.download(checkpoint, folder / "weights")
    assert [*folder.iterdir()] == []


def test_a_manifest_that_tells_another_story_is_refused(client: Client, desk: Desk, tmp_path: Path) -> None:
    run = finished_run(client, desk)
    (desk.artifacts / f"runs/{run}/e1/step-100/manifest.json").write_text('{"files": []}')
    with pytest.raises(DownloadFailed, match=r"manifest\.json of checkpoint .* does not list the files"):
        client.checkpoints.download(client.runs.checkpoints(run)[-1], tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_a_folder_with_something_in_it_is_left_alone(client: Client, desk: Desk, tmp_path: Path) -> None:
    checkpoint = client.runs.checkpoints(finished_run(client, desk))[-1]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    with pytest.raises(DownloadFailed, match="exists already"):
        client.checkpoints.download(checkpoint, tmp_path / "full")
    (tmp_path / "empty").mkdir()
    assert (client.checkpoints.download(checkpoint, tmp_path / "empty") / "config.json").exists()


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil", "C:evil", "", ".", "\\\\host\\x"]
)
def test_a_file_name_that_leads_out_of_the_folder_is_refused(
    client: Client, desk: Desk, tmp_path: Path, name: str
) -> None:
    honest = client.runs.checkpoints(finished_run(client, desk))[-1]
    evil = CheckpointFile(name=name, bytes=1, sha256="0" * 64)
    checkpoint = CheckpointRead.model_validate({**honest.model_dump(), "files": [evil]})
    with pytest.raises(DownloadFailed, match="leads out of the folder"):
        client.checkpoints.download(checkpoint, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
