"""`prolu submit` and `prolu sweep`: what goes in, and what is refused before it is sent."""

import json
from pathlib import Path

import pytest

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, OK
from tests.client.conftest import Prolu
from tests.client.desk import RUN, SWEEP, Desk


def test_a_run_is_submitted_from_a_file_and_found_again(prolu: Prolu, run_file: str, client: Client) -> None:
    status, out, err = prolu("submit", run_file)
    (found,) = client.runs.list()
    assert (status, out) == (OK, "")
    assert f"run {found.id} is queued" in err
    for reference in ("last", str(found.id), str(found.id)[-8:], found.id.hex[:20]):
        status, out, _ = prolu("show", reference)
        assert status == OK
        assert str(found.id) in out


def test_a_run_is_submitted_from_standard_input_with_a_priority_and_told_as_json(prolu: Prolu) -> None:
    status, out, err = prolu("submit", "-", "--priority", "80", "--json", stdin=json.dumps(RUN))
    assert (status, err) == (OK, "")
    assert json.loads(out)["priority"] == 80


def test_the_spec_that_is_shown_can_be_submitted_again(prolu: Prolu, run_file: str, client: Client) -> None:
    prolu("submit", run_file)
    _, spec, _ = prolu("show", "last", "--spec")
    assert prolu("submit", "-", stdin=spec)[0] == OK
    first, second = client.runs.list()
    assert first.digest == second.digest


def test_a_sweep_is_previewed_without_being_submitted(prolu: Prolu, sweep_file: str, client: Client) -> None:
    status, out, err = prolu("sweep", sweep_file, "--preview")
    assert status == OK
    assert "sparsity.coefficient=0.002" in out
    assert "4 runs; nothing was submitted" in err
    assert client.sweeps.list() == []


def test_a_preview_of_what_no_node_can_run_shows_the_runs_and_says_so(
    prolu: Prolu, sweep_file: str, client: Client, desk: Desk
) -> None:
    desk.see_nodes()
    status, out, err = prolu("sweep", sweep_file, "--preset", "post", "--preview")
    assert status == BAD_INPUT
    assert "sparsity.coefficient=" in out
    assert "this service would refuse the sweep today" in err
    assert "gpus" in err
    assert client.sweeps.list() == []


def test_a_preview_tells_each_refusal_on_a_line_as_a_refused_sweep_does(prolu: Prolu, client: Client) -> None:
    base = {**SWEEP["base"], "data": {"kind": "shards", "path": "x"}}
    document = json.dumps({**SWEEP, "base": base, "grid": {"data.path": ["here", "there"], "training.seed": [0, 1]}})
    status, _, err = prolu("sweep", "-", "--preview", stdin=document)
    assert status == BAD_INPUT
    _, heading, *refusals = err.splitlines()
    assert heading == "prolu: this service would refuse the sweep today:"
    assert [line.partition(": Point ")[0] for line in refusals] == [f"prolu: grid.data.path.{at}" for at in (0, 1)]
    assert prolu("sweep", "-", stdin=document)[::2] == (BAD_INPUT, refusals[0] + "\n")
    assert client.sweeps.list() == []


def test_a_preset_of_which_no_grid_fits_the_sweep_says_so(prolu: Prolu, tmp_path: Path) -> None:
    variant = {"name": "prolu", "grid": {"sparsity.coefficient": [0.001, 0.002]}}
    (tmp_path / "s.json").write_text(json.dumps({**SWEEP, "grid": {}, "variants": [variant]}))
    for name, told in (("prollu", True), ("prolu", False)):
        (tmp_path / "p.json").write_text(
            json.dumps({"description": "small", "grids": {name: {"sparsity.coefficient": [0.5]}}})
        )
        status, _, err = prolu("sweep", "s.json", "--preset", "p.json", "--preview")
        assert status == OK
        assert ("not used: prollu (sparsity.coefficient)" in err) == told


def test_a_sweep_is_submitted_listed_and_queued(prolu: Prolu, sweep_file: str, desk: Desk) -> None:
    desk.see_nodes()
    assert "with 4 runs is queued" in prolu("sweep", sweep_file)[2]
    assert "4 queued" in prolu("ls", "--sweeps")[1]
    assert len(prolu("ls", "--sweep", "last", "--state", "queued")[1].splitlines()) == 5
    queue = prolu("queue", "--limit", "3")
    assert "2 CPUs" in queue[1]
    assert "waiting: 4" in queue[1]
    assert "1 more wait" in queue[2]


@pytest.mark.parametrize(
    ("document", "lines"),
    [
        ("training: {stepz: 3}", ["training.stepz is not a field here; did you mean 'steps'?"]),
        ("sae: {kind: prolu, d_sae: 0}", ["sae.d_sae must be"]),
        ("sparsity: {kind: l1, coefficient: .nan}", ["sparsity.coefficient must be a finite number; got NaN."]),
        ("a: [1", ["Not valid YAML at line"]),
        ("- 1", ["The document must be a mapping of fields"]),
        ("", ["The document must be a mapping of fields"]),
        ("\x00", ["Not valid YAML"]),
    ],
)
def test_a_bad_spec_is_refused_before_it_is_sent_with_a_line_for_each_mistake(
    prolu: Prolu, client: Client, document: str, lines: list[str]
) -> None:
    status, out, err = prolu("submit", "-", stdin=document)
    assert (status, out) == (BAD_INPUT, "")
    assert all(line.startswith("prolu: standard input: ") for line in err.splitlines())
    for line in lines:
        assert line in err
    assert client.runs.list() == []


def test_what_only_the_service_finds_is_one_line_for_each_mistake_too(prolu: Prolu, client: Client) -> None:
    status, _, err = prolu("submit", "-", stdin=json.dumps({**RUN, "data": {"kind": "shards", "path": "/nowhere"}}))
    assert status == BAD_INPUT
    (line,) = err.splitlines()
    assert line.startswith("prolu: ")
    assert "data.path" in line
    bad_base = {**SWEEP, "base": {**SWEEP["base"], "training": {"steps": 10, "batchsize": 3}}}
    status, _, err = prolu("sweep", "-", stdin=json.dumps(bad_base))
    assert status == BAD_INPUT
    assert "batchsize" in err
    assert "did you mean 'batch_size'?" in err
    assert client.runs.list() == []


def test_a_run_is_no_sweep_and_a_sweep_is_no_run(prolu: Prolu, run_file: str, sweep_file: str) -> None:
    assert prolu("submit", sweep_file)[::2] == (
        BAD_INPUT,
        "prolu: sweep.yaml is a sweep (it has a base); submit it with `prolu sweep sweep.yaml`.\n",
    )
    assert prolu("sweep", run_file)[::2] == (
        BAD_INPUT,
        "prolu: run.yaml is a single run (it has no base); submit it with `prolu submit run.yaml`.\n",
    )


def test_a_file_that_cannot_be_read_is_named(prolu: Prolu, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"name: \xe9t\xe9")
    (tmp_path / "long").write_bytes(b"#" * 4_000_001)
    for name, said in (
        ("missing.yaml", "No such file"),
        (".", "Is a directory"),
        ("latin", "not UTF-8"),
        ("long", "longer"),
    ):
        status, _, err = prolu("submit", name)
        assert status == BAD_INPUT
        assert name in err
        assert said in err
        assert len(err.splitlines()) == 1
