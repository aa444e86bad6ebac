"""A small lab in a database: runs in every state, with series, checkpoints whose files are there, logs and sweeps."""

from __future__ import annotations

import hashlib
from pathlib import Path

from prolu.spec.report import CheckpointFile, CheckpointWritten, Failed, LogLines, MetricPoint, Report, Succeeded
from tests.fixtures_api import Api
from tests.service.api.work import submit, sweep_body, work_on
from tests.service.store.specs import diagnostics, full_snapshot, metric, snapshot


def populate(api: Api) -> dict[str, list[str]]:
    """Fill an empty service through its own door. Returns ids by the name of the parameter that takes them."""
    finished, failed, cancelled, paused, working = (submit(api, name=f"run {number}")["id"] for number in range(5))
    for run_id, end in (
        (finished, Succeeded(step=100, metrics={"l0": 12.0, "fvu": 0.25, "ce_recovered": 0.9})),
        (failed, Failed(step=3, failure_class="nan_loss", message="The loss became NaN.")),
    ):
        work_on(api, run_id, *_told(api, run_id), end)
    work_on(api, working, metric(1), LogLines(text="began"))
    api.post(f"/v1/runs/{cancelled}:cancel")
    api.post(f"/v1/runs/{paused}:pause")
    sweep_id = api.post("/v1/sweeps", sweep_body(2, seeds=[0, 1])).json()["id"]
    points = [run["id"] for run in api.get(f"/v1/sweeps/{sweep_id}/runs").json()["items"]]
    for l0, run_id in enumerate(points[:3], start=1):
        work_on(
            api, run_id, snapshot(50), snapshot(100), Succeeded(step=100, metrics={"l0": 10.0 * l0, "fvu": 0.5 / l0})
        )
    checkpoints = api.get(f"/v1/runs/{finished}/checkpoints").json()["items"]
    return {
        "run_id": [finished, failed, cancelled, paused, working, *points],
        "sweep_id": [sweep_id],
        "checkpoint_id": [checkpoint["id"] for checkpoint in checkpoints],
        "chore_id": [
            api.post(f"/v1/checkpoints/{checkpoint['id']}/exports", {"format": layout}).json()["id"]
            for checkpoint in checkpoints
            for layout in ("sae_lens", "dictionary_learning")
        ],
    }


def _told(api: Api, run_id: str) -> list[Report]:
    points = [
        MetricPoint(split="train", step=step, tokens=10 * step, values={"l0": 9.0, "loss": 1.0}) for step in (1, 2, 3)
    ]
    held_out = MetricPoint(split="held_out", step=3, tokens=30, values={"l0": 9.5, "fvu": 0.5})
    return [*points, held_out, full_snapshot(2), diagnostics(2), LogLines(text="one\ntwo"), _checkpoint(api, run_id)]


def _checkpoint(api: Api, run_id: str) -> CheckpointWritten:
    path = f"runs/{run_id}/e1/step-3"
    folder = Path(api.settings.artifact_root) / path
    (folder / "sae_lens").mkdir(parents=True)
    contents = {
        "sae.safetensors": b"w" * 5_000,
        "config.json": b"{}",
        "sae_lens/cfg.json": b'{"architecture": "jumprelu"}',
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "manifest.json").write_text('{"files": []}')
    files = [
        CheckpointFile(name=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    ]
    return CheckpointWritten(step=3, tokens=30, path=path, files=files, final=True)
