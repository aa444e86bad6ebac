"""A run that is stopped or crashes anywhere and is resumed in a new process ends as if nothing had happened, bit by bit.

The table has every autoencoder, estimator, penalty, optimizer and data mode, the controller, resampling and each switch of
training; the step to end early at is drawn anew each time, from a seed that a failure names. A run that is stopped saves
itself; one that crashes goes on from its last periodic checkpoint and repeats what it had reported since.
"""

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from prolu.data.opening import open_source
from prolu.data.places import Places
from prolu.spec import RunSpec
from prolu.spec.report import CheckpointWritten, MetricPoint, Progress, Report, Succeeded
from prolu.training import CheckpointStore, train
from prolu.training.attempt import Attempt
from tests.data.conftest import documents, save_tiny_model

REPORT: TypeAdapter[Report] = TypeAdapter(Report)
STEPS, D_IN, D_SAE = 24, 12, 20
CRASH_CHECKPOINT_EVERY_STEPS = 5

SYNTHETIC = {"kind": "synthetic", "d_in": D_IN, "n_features": 18, "active_features": 3.0, "eval_samples": 40}
SHARDS = {"kind": "shards", "path": "SHARDS", "eval_samples": 40}
PARQUET = {"kind": "shards", "path": "PARQUET", "eval_samples": 40}
LANGUAGE_MODEL = {
    "kind": "language_model",
    "model": "MODEL",
    "block": 1,
    "corpus": {"kind": "text", "path": "TEXTS"},
    "context_length": 16,
    "tokens": 300,
    "eval_tokens": 64,
    "held_out_share": 0.3,
    "ce_tokens": 48,
}
# A penalty and a learning rate so high that latents die within steps.
L1 = {"kind": "l1", "coefficient": 0.5, "warmup_steps": 5}
CONTROLLED = {"kind": "l1", "coefficient": 0.5, "controller": {"target_l0": 3.0, "rate": 0.1, "pause_steps": 3}}
NONE = {"kind": "none"}
RESAMPLING = {"resampling": {"every_steps": 4, "samples": 40, "lr_warmup_steps": 3}}
TOPK = {"k": 3, "aux_k": 4}


def prolu(**estimator: Any) -> dict[str, Any]:
    return {"kind": "prolu", "estimator": estimator}


def surrogate(form: str, **kernel: Any) -> dict[str, Any]:
    return prolu(kind="surrogate", form=form, kernel=kernel)


def optimizer(kind: str) -> dict[str, Any]:
    return {"optimizer": {"kind": kind, "learning_rate": 0.1}}


# name: (sae, sparsity, training, data)
TABLE: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "relu": ({"kind": "relu"}, L1, RESAMPLING, SYNTHETIC),
    "relu ste": ({"kind": "relu", "gradient": "ste"}, {"kind": "sqrt_l1", "coefficient": 0.01}, {}, SYNTHETIC),
    "relu_like": (prolu(kind="relu_like"), CONTROLLED, RESAMPLING, SYNTHETIC),
    "ste": (prolu(kind="ste"), L1, RESAMPLING | optimizer("muon"), SYNTHETIC),
    "ste_bias_only": (prolu(kind="ste_bias_only"), L1, optimizer("adamw"), SYNTHETIC),
    "ste_input_only": (prolu(kind="ste_input_only"), L1, optimizer("radam"), SYNTHETIC),
    "interpolated": (prolu(kind="interpolated", w_m=0.3), CONTROLLED, {"gradient_clip_norm": 0.1}, SYNTHETIC),
    "surrogate rectangle": (surrogate("gate", kind="rectangle", epsilon=0.5), L1, {"lr_decay": "cosine"}, SYNTHETIC),
    "surrogate gaussian": (surrogate("product", kind="gaussian"), L1, {"reconstruction": "sum"}, SYNTHETIC),
    "surrogate exp": (surrogate("gate", kind="exp"), L1, RESAMPLING | optimizer("adamw"), SYNTHETIC),
    "hybrid": ({"kind": "prolu_hybrid"}, CONTROLLED, RESAMPLING, SYNTHETIC),
    "jumprelu": ({"kind": "jumprelu", "bandwidth": 0.5}, {**CONTROLLED, "kind": "l0"}, RESAMPLING, SYNTHETIC),
    "jumprelu tanh": ({"kind": "jumprelu", "decoder_norm": "free"}, {**L1, "kind": "tanh"}, {}, SYNTHETIC),
    "gated": ({"kind": "gated"}, CONTROLLED, RESAMPLING, SYNTHETIC),
    "topk": ({"kind": "topk", **TOPK}, NONE, RESAMPLING | optimizer("muon"), SYNTHETIC),
    "batch_topk": (
        {"kind": "batch_topk", "threshold_decay": 0.9, **TOPK},
        NONE,
        RESAMPLING | optimizer("radam"),
        SYNTHETIC,
    ),
    "matryoshka": (
        {"kind": "matryoshka_batch_topk", "prefixes": [5, 12, D_SAE], **TOPK},
        NONE,
        optimizer("adamw"),
        SYNTHETIC,
    ),
    "free decoder": (
        {"kind": "relu", "decoder_norm": "free", "decoder_init_norm": 0.1},
        {"kind": "l1_decoder_norm", "coefficient": 0.02},
        RESAMPLING,
        SYNTHETIC,
    ),
    "mean": ({"kind": "prolu", "b_dec_init": "mean"}, L1, {}, {**SHARDS, "normalisation": "dataset_rms"}),
    "geometric median": ({"kind": "topk", "b_dec_init": "geometric_median", **TOPK}, NONE, RESAMPLING, SHARDS),
    "bfloat16": ({"kind": "prolu"}, L1, {"precision": "bfloat16", **RESAMPLING}, SHARDS),
    "parquet": ({"kind": "prolu"}, L1, RESAMPLING, {**PARQUET, "normalisation": "dataset_rms"}),
    "cached": ({"kind": "prolu"}, L1, RESAMPLING, LANGUAGE_MODEL),
    "streaming": ({"kind": "prolu"}, L1, RESAMPLING, {**LANGUAGE_MODEL, "mode": "streaming", "buffer_tokens": 64}),
}
# The case of a crash: which run of the table it is. Among them are a controller, resampling, thresholds and a stream.
CRASHES = {f"{name}, crashed": name for name in ("jumprelu", "batch_topk", "parquet", "streaming")}


@dataclass(frozen=True)
class Ended:
    """How a run of the table ended, undisturbed and in pieces."""

    stop_step: int
    resume_step: int
    undisturbed: list[Report]
    before: list[Report]
    whole: Path
    pieced: Path

    @property
    def resumed(self) -> list[Report]:
        lines = (self.pieced / "reports.jsonl").read_text().splitlines()
        return [REPORT.validate_json(line) for line in lines]

    @property
    def lost(self) -> list[Report]:
        """What the first piece reported after the checkpoint that the second one goes on from."""
        return [r for r in self.before if not isinstance(r, Progress) and r.step > self.resume_step]

    @property
    def accepted(self) -> list[Report]:
        """What the first piece reported up to that checkpoint, which was the last of it."""
        kept = [place for place, report in enumerate(self.before) if isinstance(report, CheckpointWritten)]
        return self.before[: kept[-1] + 1]

    @property
    def expected(self) -> list[Report]:
        return [r for r in self.undisturbed if not isinstance(r, Progress) and r.step > self.resume_step]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A data root with shards, a tiny language model and texts for it."""
    root = tmp_path_factory.mktemp("data")
    (root / "shards").mkdir()
    generator = np.random.default_rng(0)
    for name, rows in [("a.npy", 170), ("b.npy", 130)]:
        np.save(root / "shards" / name, generator.normal(0.3, 1.0, (rows, D_IN)).astype(np.float32))
    save_tiny_model(root / "model", "llama")
    (root / "parquet").mkdir()
    for name, rows in [("a.parquet", 170), ("b.parquet", 130)]:
        column = pa.array(list(generator.normal(0.3, 1.0, (rows, D_IN)).astype(np.float32)))
        pq.write_table(pa.table({"activations": column}), root / "parquet" / name)
    (root / "texts").mkdir()
    for number, text in enumerate(documents(40, 40)):
        (root / "texts" / f"{number:02d}.txt").write_text(text)
    return Places(cache_dir=root / "cache", data_roots=(root,), hub_online=False)


def spec_of(case: str, places: Places) -> RunSpec:
    sae, sparsity, training, data = TABLE[CRASHES.get(case, case)]
    root = places.data_roots[0]
    text = json.dumps(data)
    for mark in ("SHARDS", "PARQUET", "MODEL", "TEXTS"):
        text = text.replace(f'"{mark}"', json.dumps(str(root / mark.lower())))
    every = {
        "steps": STEPS,
        "batch_size": 16,
        "lr_warmup_steps": 4,
        "lr_decay_steps": 6,
        "dead_window_tokens": 100,
        "metrics_every_steps": 5,
        "evaluate_every_steps": 11,
        "bias_snapshot_every_steps": 4,
    }
    if case in CRASHES:
        every["checkpoint_every_steps"] = CRASH_CHECKPOINT_EVERY_STEPS
    return RunSpec.model_validate(
        {
            "data": json.loads(text),
            "sae": {"d_sae": D_SAE, **sae},
            "sparsity": sparsity,
            "training": every | optimizer("adam") | training,
        }
    )


@pytest.fixture(scope="module")
def ended(request: pytest.FixtureRequest, places: Places, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every case that is asked for, undisturbed, and ended early at a random step and resumed, all in one new process."""
    seed = int(os.environ.get("PROLU_TEST_SEED", random.SystemRandom().randrange(2**32)))
    print(f"PROLU_TEST_SEED={seed} ends at the same steps again")  # noqa: T201  pytest shows it with a failure
    chance = random.Random(seed)  # noqa: S311
    stop_steps = {case: chance.randrange(1, STEPS) for case in TABLE} | {case: _crash_step(chance) for case in CRASHES}
    asked_for = [item.callspec.params["case"] for item in request.session.items if item.path == request.path]
    runs: dict[str, Ended] = {}
    orders = []
    for case in asked_for:
        spec, folder = spec_of(case, places), tmp_path_factory.mktemp("run")
        source = open_source(spec.data, places=places, notify=lambda _progress: None, should_stop=lambda: False)
        whole, pieced, stop_step = folder / "whole", folder / "pieced", stop_steps[case]
        reports: list[Report] = []
        before: list[Report] = []
        outcome = train(
            spec,
            source,
            checkpoints=CheckpointStore(str(whole), "runs/a/e1"),
            sink=reports.append,
            should_stop=lambda: None,
        )
        assert isinstance(outcome, Succeeded), f"{case}: {outcome}"
        first = Attempt(
            spec,
            source,
            checkpoints=CheckpointStore(str(pieced), "runs/a/e1"),
            sink=before.append,
            should_stop=lambda: None,
        )
        first.begin(None)
        for _ in range(stop_step):
            first.advance()
        if case in CRASHES:  # nobody tells the attempt that it is over
            resume_step = max(report.step for report in before if isinstance(report, CheckpointWritten))
        else:
            resume_step = first.stop("preempt").step
        runs[case] = Ended(stop_step, resume_step, [*reports, outcome], before, whole, pieced)
        orders.append(
            {
                "spec": spec.model_dump(mode="json"),
                "root": str(pieced),
                "resume_from": f"runs/a/e1/step-{resume_step}",
                "places": [str(places.cache_dir), str(places.data_roots[0])],
            }
        )
    order_file = tmp_path_factory.mktemp("orders") / "orders.json"
    order_file.write_text(json.dumps(orders))
    command = [sys.executable, Path(__file__).with_name("resuming_process.py"), order_file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return runs


def _crash_step(chance: random.Random) -> int:
    """Return a step after the first periodic checkpoint that has none of its own, so that there is something to repeat."""
    every = CRASH_CHECKPOINT_EVERY_STEPS
    return chance.choice([step for step in range(every, STEPS) if step % every != 0])


def comparable(reports: list[Report]) -> list[str]:
    """Reports as text, without progress, which depends on the clock, and without the attempt's own folder."""
    return [
        report.model_dump_json().replace("runs/a/e2/", "runs/a/e1/")
        for report in reports
        if not isinstance(report, Progress)
    ]


@pytest.mark.parametrize("case", TABLE)
def test_a_run_stopped_at_a_random_step_and_resumed_in_a_new_process_ends_bit_identical(
    ended: dict[str, Ended], case: str
) -> None:
    run = ended[case]
    assert run.resume_step == run.stop_step
    check_resumed_as_if_undisturbed(run)
    points = [report.values for report in run.undisturbed if isinstance(report, MetricPoint)]
    resampled = sum(values.get("resampled", 0) for values in points)
    assert (resampled > 0) == ("resampling" in TABLE[case][2]), "the table promises more than it tries"


@pytest.mark.parametrize("case", CRASHES)
def test_a_run_that_crashed_repeats_what_followed_its_last_periodic_checkpoint_and_ends_bit_identical(
    ended: dict[str, Ended], case: str
) -> None:
    run = ended[case]
    assert run.stop_step - CRASH_CHECKPOINT_EVERY_STEPS < run.resume_step < run.stop_step
    lost = comparable(run.lost)
    assert comparable(run.resumed)[: len(lost)] == lost, f"crashed after step {run.stop_step}"
    assert comparable([*run.accepted, *run.resumed]) == comparable(run.undisturbed), "reports are missing or came twice"
    check_resumed_as_if_undisturbed(run)


def check_resumed_as_if_undisturbed(run: Ended) -> None:
    for resumed, expected in zip(comparable(run.resumed), comparable(run.expected), strict=True):
        assert resumed == expected, f"ended early at step {run.stop_step}"
    for file in ("sae.safetensors", "training.safetensors", "config.json", "manifest.json"):
        whole = (run.whole / f"runs/a/e1/step-{STEPS}" / file).read_bytes()
        pieced = (run.pieced / f"runs/a/e2/step-{STEPS}" / file).read_bytes()
        assert pieced == whole, f"{file} differs after an end at step {run.stop_step}"
