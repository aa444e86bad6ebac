"""`biases`, `evaluate` and `align` on the files of a real run, and what they say to bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file

from prolu.export import export_checkpoint
from prolu.offline import __main__ as command
from prolu.offline.checkpoints import coefficient_of, open_checkpoint
from prolu.spec.estimators import Ste, Surrogate, UnitKernel
from prolu.spec.report import Alignment, BiasSnapshot
from tests.offline.conftest import DOCUMENT, Run, train_run


class Answer:
    """What a command printed, with its exit status."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        self.status = command.run(arguments)
        self.out, self.err = capsys.readouterr()

    @property
    def json(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)


def test_biases_prints_what_the_run_reported(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(capsys, "biases", run.folder, "--json")
    assert BiasSnapshot.model_validate(answer.json) == run.snapshot
    table = Answer(capsys, "biases", run.folder).out.splitlines()
    assert table[0] == "step 12, 192 activations"
    assert [line.split()[0] for line in table[1:5]] == ["latents", "all", "alive", "dead"]
    assert table[2].split()[1] == "40"


def test_evaluate_measures_what_the_run_measured_at_its_end(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(capsys, "evaluate", run.folder, "--json").json
    expected = {name: value for name, value in run.end.metrics.items() if name != "dead_fraction"}
    assert answer["metrics"] == pytest.approx(expected, rel=1e-6)
    assert (answer["kind"], answer["step"]) == ("prolu", 12)
    assert sum(answer["density"]["counts"]) == 40
    table = dict(line.split() for line in Answer(capsys, "evaluate", run.folder).out.splitlines())
    assert float(table["fvu"]) == pytest.approx(expected["fvu"], rel=1e-5)


def test_evaluate_says_what_is_not_finite_and_writes_json_all_the_same(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file(f"{run.folder}/sae.safetensors")
    save_file(weights | {"W_dec": weights["W_dec"] * 3e38}, tmp_path / "sae.safetensors")
    (tmp_path / "config.json").write_bytes(Path(run.folder, "config.json").read_bytes())
    answer = Answer(capsys, "evaluate", str(tmp_path), "--json")
    assert answer.json["metrics"]["mse"] is None
    assert answer.json["metrics"]["l0"] >= 0
    assert "NaN" not in answer.out + answer.err
    assert "Infinity" not in answer.out
    assert answer.err.startswith("prolu: not finite: mse")


def test_evaluate_takes_other_data_in_the_scale_of_the_checkpoint(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Answer(capsys, "evaluate", run.folder, "--json").json["metrics"]
    data, whole = tmp_path / "data.yaml", tmp_path / "run.json"
    data.write_text(yaml.safe_dump(DOCUMENT["data"] | {"normalisation": "none"}))
    whole.write_text(json.dumps(DOCUMENT))
    for file in (data, whole):
        assert Answer(capsys, "evaluate", run.folder, "--data", str(file), "--json").json["metrics"] == own
    data.write_text(yaml.safe_dump(DOCUMENT["data"] | {"seed": 7}))
    other = Answer(capsys, "evaluate", run.folder, "--data", str(data), "--json").json["metrics"]
    assert other["fvu"] != own["fvu"]


def test_evaluate_reads_what_sae_lens_saved(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export_checkpoint(run.folder, "sae_lens", tmp_path / "sae_lens")
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump(DOCUMENT["data"]))
    answer = Answer(capsys, "evaluate", str(tmp_path / "sae_lens"), "--data", str(data), "--json").json
    assert (answer["kind"], answer["step"]) == ("jumprelu", None)
    own = Answer(capsys, "evaluate", run.folder, "--json").json["metrics"]
    for name in ("l0", "fvu", "cosine", "shrinkage", "mmcs"):  # l1 and mse are in the scale of the weights
        assert answer["metrics"][name] == pytest.approx(own[name], rel=1e-4), name
    without = Answer(capsys, "evaluate", str(tmp_path / "sae_lens"))
    assert (without.status, "name the data with --data" in without.err) == (2, True)


def test_align_compares_the_estimators_and_bandwidths_that_are_named(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--estimators", "ste, {kind: surrogate, kernel: {kind: unit}}", "--bandwidths", "0.05,1")
    sizes = ("--batches", "3", "--batch-size", "100")
    answer = Answer(capsys, "align", run.folder, *options, *sizes, "--json").json
    estimators = [Ste(), Surrogate(kernel=UnitKernel())]
    assert [json.loads(name) for name in dict.fromkeys(one["estimator"] for one in answer)] == [
        estimator.model_dump() for estimator in estimators
    ]
    assert {one["bandwidth"] for one in answer} == {None, 0.05, 1.0}
    assert max(one["cosine"]["n"] for one in answer) == 3
    table = Answer(capsys, "align", run.folder, *options, *sizes).out.splitlines()
    assert len(table) == 1 + len(answer)
    whole = Answer(capsys, "align", run.folder, "--estimators", "[ste]", "--bandwidths", "[0.05, 1]", *sizes, "--json")
    assert whole.json == [one for one in answer if json.loads(one["estimator"]) == {"kind": "ste"}]


def test_align_says_how_many_batches_there_were_if_fewer_than_asked(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The held-out set has 300 activations."""
    options = ("--estimators", "ste", "--bandwidths", "0.1", "--batch-size")
    enough = Answer(capsys, "align", run.folder, *options, "100", "--batches", "3")
    assert (enough.status, enough.err) == (0, "")
    fewer = Answer(capsys, "align", run.folder, *options, "120", "--batches", "3")
    assert fewer.err == "prolu: 2 of 3 batches were used: the held-out data hold no more of 120 activations.\n"
    single = Answer(capsys, "align", run.folder, *options, "512", "--batches", "3", "--json")
    assert single.err == "prolu: 1 of 3 batches was used: the held-out data hold no more of 512 activations.\n"
    assert {one["cosine"]["standard_error"] for one in single.json} == {None}
    unknown = Answer(capsys, "align", run.folder, *options, "512").out.splitlines()[1:]
    assert {tuple(line[47:].split()[1:3]) for line in unknown} == {("-", "1")}


def test_align_finds_what_the_run_found_at_its_end(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--estimators", "ste", "--bandwidths", "0.1", "--batches", "2", "--batch-size", "64")
    answer = Answer(capsys, "align", run.folder, *options, "--json").json
    assert run.diagnostics is not None
    assert [Alignment.model_validate(one) for one in answer] == run.diagnostics.gradient_alignment


def test_align_weighs_the_penalty_as_the_controller_had_come_to(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    coefficient = coefficient_of(open_checkpoint(run.folder))
    assert coefficient != pytest.approx(0.02)
    own = Answer(capsys, "align", run.folder, "--json").json
    assert Answer(capsys, "align", run.folder, "--coefficient", repr(coefficient), "--json").json == own
    assert Answer(capsys, "align", run.folder, "--coefficient", "0.02", "--json").json != own


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("biases", "nowhere"), "has no config.json"),
        (("evaluate", "nowhere"), "has no config.json"),
        (("evaluate", "{run}", "--data", "nowhere.yaml"), "--data nowhere.yaml cannot be read"),
        (("evaluate", "{run}", "--data", "{wrong}"), "data.d_in must be at least 2; got 1."),
        (("evaluate", "{run}", "--data", "{wide}"), "are 16 wide, the autoencoder in"),
        (("evaluate", "{run}", "--batch-size", "0"), "--batch-size"),
        (("align", "{run}", "--estimators", "stee"), "did you mean 'ste'?"),
        (("align", "{run}", "--bandwidths", "0"), "bandwidths.0 must be at least 1e-06; got 0"),
        (("align", "{run}", "--batches", "1"), "batches must be at least 2; got 1"),
        (("align", "{run}", "--coefficient=inf"), "'--coefficient': must be a number from 0 to 1e+30; got inf."),
        (("align", "{run}", "--coefficient=nan"), "'--coefficient': must be a number from 0 to 1e+30; got nan."),
        (("align", "{run}", "--coefficient=-1"), "'--coefficient': must be a number from 0 to 1e+30; got -1."),
        (("align", "{topk}"), "this SAE is 'topk'"),
    ],
)
def test_bad_input_is_told_in_one_line_and_exit_status_2(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    places = {"run": run.folder}
    for name, change in (("wrong", {"d_in": 1}), ("wide", {"d_in": 16})):
        places[name] = str(tmp_path / name)
        Path(places[name]).write_text(json.dumps(DOCUMENT["data"] | change))
    if "{topk}" in arguments:
        training = DOCUMENT["training"] | {"gradient_alignment": None}
        without_alignment = DOCUMENT | {"training": training}
        sae, sparsity = {"kind": "topk", "d_sae": 40, "k": 4}, {"kind": "none"}
        places["topk"] = train_run(tmp_path, without_alignment | {"sae": sae, "sparsity": sparsity}).folder
    answer = Answer(capsys, *(argument.format(**places) for argument in arguments))
    assert answer.status == 2
    assert sentence in answer.err
    assert len(answer.err.splitlines()) == 1
    assert answer.out == ""


def test_the_commands_are_a_program_of_their_own(run: Run) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prolu.offline", "biases", run.folder, "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["step"] == 12


@pytest.mark.parametrize("name", ["biases", "evaluate", "align", "export"])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer(capsys, name, "--help")
    assert answer.status == 0
    assert "--json" in answer.out
