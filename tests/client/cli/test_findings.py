"""`prolu results`, `biases`, `diagnostics`, `download`: what was found, on the screen and in files."""

import json
from pathlib import Path
from uuid import UUID

import pyarrow.parquet
import pytest

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, OK
from prolu.spec.report import DiagnosticsMeasured, Succeeded
from tests.client.conftest import Prolu
from tests.client.desk import RUN, SWEEP, WEIGHTS, Desk, snapshot
from tests.client.pictured import alignments


@pytest.mark.parametrize("suffix", ["parquet", "csv", "json"])
def test_results_go_into_a_file_of_the_wished_kind(prolu: Prolu, finished: UUID, tmp_path: Path, suffix: str) -> None:
    status, out, err = prolu("results", "last", "--output", f"r.{suffix}")
    assert (status, out) == (OK, "")
    assert f"4 rows are in r.{suffix}" in err
    if suffix == "parquet":
        assert pyarrow.parquet.read_table(tmp_path / "r.parquet")["metrics.l0"].to_pylist() == [None, 8.0, 8.0, 8.0]
    assert (tmp_path / f"r.{suffix}").stat().st_size > 100


def test_results_are_shown_as_a_table_or_as_json(prolu: Prolu, finished: UUID) -> None:
    assert "dead_fraction" in prolu("results")[1]
    assert json.loads(prolu("results", str(finished), "--json")[1])[1]["metrics.fvu"] == 0.25


def test_results_hide_what_few_ask_for_until_all_is_wished(prolu: Prolu, finished: UUID) -> None:
    assert "median b" not in prolu("results")[1]
    assert "median b" in prolu("results", "--all")[1]


@pytest.fixture
def repeated(client: Client, desk: Desk) -> UUID:
    """A sweep of one coefficient and two seeds, both done; the second one measured another l0."""
    base = {**SWEEP["base"], "sparsity": {"kind": "l1", "coefficient": 0.001}}
    sweep = client.sweeps.submit({"name": "seeds", "base": base, "seeds": [0, 1]})
    for run, l0 in zip(desk.claim(), (8.0, 10.0), strict=True):
        desk.report(run, snapshot(100, -1.0), Succeeded(step=100, metrics={"l0": l0, "fvu": 0.25}))
    return sweep.id


def test_results_over_seeds_are_one_row_with_errors(prolu: Prolu, repeated: UUID, tmp_path: Path) -> None:
    status, out, _ = prolu("results", str(repeated), "--over-seeds")
    assert status == OK
    assert "9.0 ± 1.0" in out
    assert "0.25 ± 0" in out
    (record,) = json.loads(prolu("results", str(repeated), "--over-seeds", "--json")[1])
    assert (record["metrics.l0.low"], record["metrics.l0.high"], record["metrics.l0.n"]) == (8.0, 10.0, 2)
    assert "1 rows are in s.csv" in prolu("results", str(repeated), "--over-seeds", "--output", "s.csv")[2]
    assert "metrics.l0.standard_error" in (tmp_path / "s.csv").read_text()


def test_two_variants_are_compared_seed_by_seed(prolu: Prolu, client: Client, desk: Desk) -> None:
    base = {**SWEEP["base"], "sparsity": {"kind": "l1", "coefficient": 0.001}}
    variants = [{"name": name, "set": {"sae.kind": name}} for name in ("relu", "prolu")]
    sweep = str(client.sweeps.submit({"name": "two", "base": base, "variants": variants, "seeds": [0, 1]}).id)
    status, _, err = prolu("results", sweep, "--against", "relu")
    assert status == OK
    assert "no run that succeeded has the settings and the seed of one of relu" in err
    for run, fvu in zip(desk.claim(), (0.5, 0.25, 0.25, 0.125), strict=True):
        desk.report(run, snapshot(100, -1.0), Succeeded(step=100, metrics={"fvu": fvu}))
    status, out, _ = prolu("results", sweep, "--against", "relu")
    assert status == OK
    for word in ("Δ fvu", "-0.188 ± 0.062", "[-0.250, -0.125]", "prolu", "this minus relu"):
        assert word in out
    _, compared = json.loads(prolu("results", sweep, "--against", "relu", "--json")[1])
    assert compared["differences.fvu.mean"] == -0.1875
    status, _, err = prolu("results", sweep, "--against", "gated")
    assert status != OK
    assert "its variants are relu, prolu" in err


def test_the_frontier_of_repeated_runs_has_error_bars_unasked(prolu: Prolu, repeated: UUID, tmp_path: Path) -> None:
    assert prolu("results", str(repeated), "--plot", "f.svg")[0] == OK
    assert "over seeds" in (tmp_path / "f.svg").read_text()


def test_biases_are_drawn_in_the_terminal_for_a_run(prolu: Prolu, client: Client, finished: UUID) -> None:
    good = str(client.sweeps.runs(finished)[1].id)
    _, out, _ = prolu("biases", good)
    assert "100.0 %" in out
    assert "at step 100" in out
    assert "█" in out
    assert [one["step"] for one in json.loads(prolu("biases", good, "--json")[1])] == [0, 50, 100]


def test_biases_of_a_sweep_are_a_table_by_variant_and_sparsity(prolu: Prolu, finished: UUID) -> None:
    _, out, _ = prolu("biases", str(finished), "--latents", "alive")
    assert out.count("90.0 %") == 3
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["relu", "prolu", "prolu"]
    for word in ("slack b > 0", "λ = 0.002", "median"):
        assert word in out
    rows = json.loads(prolu("biases", str(finished), "--json")[1])
    assert [(row["point"], row["step"], row["level"]["value"]) for row in rows] == [
        (1, 100, 0.002),
        (2, 100, 0.001),
        (3, 100, 0.002),
    ]


def test_biases_over_seeds_name_the_seed(prolu: Prolu, repeated: UUID) -> None:
    _, out, _ = prolu("biases", str(repeated))
    assert "seed" in out
    assert out.count("λ = 0.001") == 2


def test_pictures_are_written_where_they_were_wished(
    prolu: Prolu, client: Client, finished: UUID, tmp_path: Path
) -> None:
    good = str(client.sweeps.runs(finished)[1].id)
    assert prolu("biases", str(finished), "--plot", "b.png")[0] == OK
    assert prolu("biases", str(finished), "--plot", "t.svg", "--over-training")[0] == OK
    assert prolu("biases", good, "--plot", "r.svg")[0] == OK
    assert prolu("results", str(finished), "--plot", "f.svg")[0] == OK
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    for name, words in (("t", "optimizer step"), ("r", "At step 100"), ("f", "FVU")):
        assert words in (tmp_path / f"{name}.svg").read_text()


def test_diagnostics_are_a_table_by_estimator_and_objective_and_a_picture(
    prolu: Prolu, client: Client, desk: Desk, tmp_path: Path
) -> None:
    run = client.runs.submit(RUN)
    desk.claim()
    assert prolu("diagnostics")[0] == BAD_INPUT
    desk.report(run.id, DiagnosticsMeasured(step=100, gradient_alignment=alignments()))
    status, out, _ = prolu("diagnostics", str(run.id))
    assert status == OK
    assert out.count("+0.250 ± 0.010") == 6
    assert prolu("diagnostics", "--part", "penalty")[0] == OK
    assert "measured was loss, penalty" in prolu("diagnostics", "--part", "reconstruction")[2]
    for words in ("relu_like", "l0, bandwidth 0.1", "reconstruction", "W_enc", "b_enc"):
        assert words in out
    assert json.loads(prolu("diagnostics", "--json")[1])[0]["step"] == 100
    assert prolu("diagnostics", "last", "--plot", "d.svg")[0] == OK
    assert "descent of smoothed L0" in (tmp_path / "d.svg").read_text()
    assert client.runs.diagnostics(run.id)[0].gradient_alignment == alignments()


def test_diagnostics_of_a_sweep_are_a_table_for_each_run_that_has_any(
    prolu: Prolu, client: Client, desk: Desk, tmp_path: Path
) -> None:
    sweep = client.sweeps.submit(SWEEP)
    first, second, *_ = desk.claim()
    status, _, err = prolu("diagnostics", "last")
    assert status == BAD_INPUT
    assert "No run of sweep" in err
    for run in (first, second):
        desk.report(run, DiagnosticsMeasured(step=100, gradient_alignment=alignments()))
    status, out, _ = prolu("diagnostics", str(sweep.id))
    assert status == OK
    assert out.count("cosine of the update") == 2
    assert prolu("diagnostics", "last")[1] == out
    assert str(second)[-8:] in out
    told = json.loads(prolu("diagnostics", "last", "--json")[1])
    assert [one["run_id"] for one in told] == [str(first), str(second)]
    status, _, err = prolu("diagnostics", "last", "--plot", "d.svg")
    assert status == BAD_INPUT
    assert f"prolu diagnostics {str(first)[-8:]} --plot" in err
    assert not (tmp_path / "d.svg").exists()


def test_runs_that_were_never_trained_are_no_biases_of_a_sweep_and_others_tell_their_state(
    prolu: Prolu, client: Client, desk: Desk, tmp_path: Path
) -> None:
    sweep = client.sweeps.submit(SWEEP)
    untrained, broken, *good = desk.claim()
    desk.report(untrained, snapshot(0, -3.0))
    desk.fail(untrained)
    desk.report(broken, snapshot(0, 0.0), snapshot(50, -3.0))
    desk.fail(broken)
    for run in good:
        desk.train(run)
    _, out, _ = prolu("biases", str(sweep.id))
    assert len(out.splitlines()[2:]) == 3
    assert [word for line in out.splitlines()[2:] for word in line.split() if word in ("failed", "succeeded")] == [
        "failed",
        "succeeded",
        "succeeded",
    ]
    negative = [row["bias.fraction_negative"] for row in json.loads(prolu("results", "--json")[1])]
    assert [share is None for share in negative] == [True, False, False, False]
    assert prolu("biases", str(sweep.id), "--plot", "b.svg")[0] == OK
    assert prolu("biases", str(sweep.id), "--plot", "t.svg", "--over-training")[0] == OK
    assert "relu" not in (tmp_path / "b.svg").read_text().replace("relu_like", "")
    assert "relu, " not in (tmp_path / "t.svg").read_text()


def test_a_sweep_that_never_trained_has_no_picture_of_biases(prolu: Prolu, client: Client, desk: Desk) -> None:
    client.sweeps.submit(SWEEP)
    for run in desk.claim():
        desk.report(run, snapshot(0, 0.0))
        desk.fail(run)
    assert "has bias statistics yet" in prolu("biases")[2]
    assert prolu("biases", "--plot", "b.png")[0] == BAD_INPUT
    assert prolu("biases", "--plot", "b.png", "--over-training")[0] == BAD_INPUT


def test_without_statistics_biases_says_so(prolu: Prolu, client: Client) -> None:
    client.runs.submit(RUN)
    assert "no bias statistics yet" in prolu("biases")[2]
    assert prolu("biases", "--plot", "b.png")[0] == BAD_INPUT


def test_a_checkpoint_is_downloaded_into_a_folder_of_its_own(
    prolu: Prolu, client: Client, finished: UUID, tmp_path: Path
) -> None:
    good = client.sweeps.runs(finished)[1].id
    status, out, err = prolu("download", str(good))
    assert (status, out) == (OK, "")
    assert "checksums good" in err
    assert (tmp_path / f"prolu-{str(good)[-8:]}-step-100" / "sae.safetensors").read_bytes() == WEIGHTS + b"100"
    status, out, _ = prolu("download", str(good), "half", "--step", "50", "--json")
    told = json.loads(out)
    assert (status, told["directory"], told["checkpoint"]["step"]) == (OK, "half", 50)
    assert (tmp_path / "half" / "sae.safetensors").read_bytes() == WEIGHTS + b"50"
    status, _, err = prolu("download", str(good), "other", "--step", "51")
    assert status == BAD_INPUT
    assert "there are 50, 100" in err
