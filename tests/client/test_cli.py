"""The `prolu` command: what it prints, what it writes, and how it ends."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pyarrow.parquet
import pytest
import yaml
from rich.console import Console

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, COMMANDS, FAILED, NOT_YOURS, OK, OUT_OF_REACH
from prolu.client.cli.watching import Bars
from prolu.client.sweeps import Sweeps
from prolu.client.wire import RunSummary
from tests.client.conftest import Prolu
from tests.client.desk import RUN, SWEEP, WEIGHTS, Desk


@pytest.fixture
def run_file(tmp_path: Path) -> str:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(RUN))
    return "run.yaml"


@pytest.fixture
def sweep_file(tmp_path: Path) -> str:
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    return "sweep.yaml"


@pytest.fixture
def finished(client: Client, desk: Desk) -> UUID:
    """A sweep of which three runs succeeded and one failed."""
    sweep = client.sweeps.submit(SWEEP)
    first, *others = desk.claim()
    desk.fail(first)
    for other in others:
        desk.train(other)
    return sweep.id


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


def test_watching_what_succeeded_ends_well_and_what_failed_does_not(
    prolu: Prolu, client: Client, desk: Desk, finished: UUID
) -> None:
    status, out, err = prolu("watch", str(finished))
    assert status == FAILED
    assert "two by two" in out
    assert "90.0 %" in out
    assert "The loss became NaN at step 7." in err
    good = client.sweeps.runs(finished)[1].id
    status, out, err = prolu("watch", str(good))
    assert status == OK
    assert "fvu" in out
    assert f"run {good} succeeded after 100 of 100 steps" in err


def test_watching_as_json_tells_each_change_on_a_line(prolu: Prolu, client: Client, finished: UUID) -> None:
    good = client.sweeps.runs(finished)[1].id
    status, out, _ = prolu("watch", str(good), "--json")
    assert status == OK
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["succeeded"]


def test_on_a_terminal_every_run_has_a_bar(client: Client, finished: UUID) -> None:
    bars = Bars()
    bars.show(client.sweeps.runs(finished))
    console = Console(file=io.StringIO(), width=160)
    console.print(bars.progress.get_renderable())
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    assert sum("100 %" in line for line in lines) == 3
    assert "failed" in lines[0]


def test_cancelling_a_sweep_cancels_what_has_not_ended(prolu: Prolu, client: Client, desk: Desk) -> None:
    sweep = client.sweeps.submit(SWEEP)
    first, *others = desk.claim()
    desk.train(first)
    status, _, err = prolu("cancel", "last")
    assert status == OK
    assert len(err.splitlines()) == 4
    assert err.splitlines()[-1] == "3 runs cancelled"
    wishes = {run.id: run.desired_state for run in client.sweeps.runs(sweep.id)}
    assert wishes == {first: "running", **dict.fromkeys(others, "cancelled")}
    assert prolu("cancel", str(first))[0] == FAILED


def test_a_run_that_ends_while_its_sweep_is_cancelled_is_passed_over(
    prolu: Prolu, client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = client.sweeps.submit(SWEEP)
    first, *others = desk.claim()
    list_runs = Sweeps.runs

    def list_and_let_one_end(sweeps: Sweeps, identity: UUID) -> list[RunSummary]:
        listed = list_runs(sweeps, identity)
        desk.train(first)
        return listed

    monkeypatch.setattr(Sweeps, "runs", list_and_let_one_end)
    status, _, err = prolu("cancel", str(sweep.id))
    monkeypatch.undo()
    assert status == OK
    assert err.splitlines()[-1] == "3 runs cancelled; 1 had ended before"
    wishes = {run.id: run.desired_state for run in client.sweeps.runs(sweep.id)}
    assert wishes == {first: "running", **dict.fromkeys(others, "cancelled")}


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


def test_biases_are_drawn_in_the_terminal_for_a_run_and_for_a_sweep(
    prolu: Prolu, client: Client, finished: UUID
) -> None:
    good = str(client.sweeps.runs(finished)[1].id)
    _, out, _ = prolu("biases", good)
    assert "100.0 %" in out
    assert "at step 100" in out
    assert "█" in out
    _, out, _ = prolu("biases", str(finished), "--latents", "alive")
    assert out.count("90.0 %") == 3
    assert [snapshot["step"] for snapshot in json.loads(prolu("biases", good, "--json")[1])] == [0, 50, 100]


def test_pictures_are_written_where_they_were_wished(prolu: Prolu, finished: UUID, tmp_path: Path) -> None:
    assert prolu("biases", str(finished), "--plot", "b.png")[0] == OK
    assert prolu("results", str(finished), "--plot", "f.svg")[0] == OK
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "f.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["results", "--output", "no/r.parquet"], "--output"),
        (["results", "--output", "no/r.csv"], "--output"),
        (["results", "--output", "folder.json"], "--output"),
        (["results", "--output", "/proc/r.csv"], "--output"),
        (["results", "--output", "/proc/r.parquet"], "--output"),
        (["results", "--plot", "no/r.png"], "--plot"),
        (["results", "--plot", "file/r.png"], "--plot"),
        (["results", "--plot", "/proc/r.png"], "--plot"),
        (["biases", "--plot", "no/b.png"], "--plot"),
        (["biases", "--plot", "/proc/b.png"], "--plot"),
        (["download", "RUN", "no/folder"], "DIR"),
        (["download", "RUN", "file"], "DIR"),
        (["download", "RUN", "file/folder"], "DIR"),
        (["download", "RUN", "/proc/folder"], "DIR"),
        (["up", "--data-dir", "/proc/folder"], "--data-dir"),
        (["up", "--data-dir", "file"], "--data-dir"),
        (["up", "--data-dir", "file/folder"], "--data-dir"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_named_and_left_alone(
    prolu: Prolu, client: Client, finished: UUID, tmp_path: Path, arguments: list[str], option: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    good = str(client.sweeps.runs(finished)[1].id)
    before = sorted(tmp_path.rglob("*"))
    status, out, err = prolu(*(good if word == "RUN" else word for word in arguments))
    assert (status, out) == (BAD_INPUT, "")
    assert len(err.splitlines()) == 1
    assert option in err
    assert arguments[-1] in err
    assert sorted(tmp_path.rglob("*")) == before


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
    assert prolu("download", str(good), "half", "--step", "50")[0] == OK
    assert (tmp_path / "half" / "sae.safetensors").read_bytes() == WEIGHTS + b"50"
    status, _, err = prolu("download", str(good), "other", "--step", "51")
    assert status == BAD_INPUT
    assert "there are 50, 100" in err


def test_without_a_service_the_exit_status_says_so(
    prolu: Prolu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_file: str
) -> None:
    monkeypatch.setenv("PROLU_URL", "http://127.0.0.1:9")
    status, _, err = prolu("ls")
    assert status == OUT_OF_REACH
    assert "No service answers at http://127.0.0.1:9 (from PROLU_URL)" in err
    monkeypatch.delenv("PROLU_URL")
    monkeypatch.setenv("PROLU_DATA_DIR", str(tmp_path))
    assert prolu("submit", run_file)[0] == OUT_OF_REACH


def test_without_the_right_token_or_with_an_unknown_id_the_exit_status_says_so(
    prolu: Prolu, monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    assert prolu("show")[0] == NOT_YOURS
    client.runs.submit(RUN)
    for reference in (str(uuid4()), "ffffffff"):
        status, _, err = prolu("show", reference)
        assert status == NOT_YOURS
        assert len(err.splitlines()) == 1
    for token in ("wrong", "s3cr\xe9t", "s3cr\nt", ""):
        monkeypatch.setenv("PROLU_TOKEN", token)
        status, _, err = prolu("ls")
        assert status == NOT_YOURS
        assert len(err.splitlines()) == 1
        assert "s3cr" not in err


def test_an_ambiguous_or_impossible_id_is_bad_input(prolu: Prolu, client: Client) -> None:
    first = client.runs.submit(RUN).id
    client.runs.submit(RUN)
    status, _, err = prolu("show", first.hex[:4])
    assert status == BAD_INPUT
    assert "fits 2" in err
    for reference in ("abc", "nonsense", "../etc"):
        assert prolu("show", reference)[0] == BAD_INPUT


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["submit"],
        ["ls", "--limit", "0"],
        ["ls", "--state", "asleep"],
        ["submit", "-", "--priority", "101"],
        ["results", "--output", "r.xlsx"],
        ["results", "--plot", "r.gif"],
        ["biases", "--plot", "r"],
        ["biases", "--latents", "none"],
        ["schema", "job"],
        ["up", "--port", "70000"],
    ],
)
def test_a_mistyped_command_is_bad_input_and_one_line(prolu: Prolu, arguments: list[str]) -> None:
    status, out, err = prolu(*arguments)
    assert (status, out) == (BAD_INPUT, "")
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err


def test_the_schema_and_the_version_are_printed(prolu: Prolu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "sparsity" in json.loads(prolu("schema")[1])["properties"]
    assert "variants" in json.loads(prolu("schema", "sweep")[1])["properties"]
    assert json.loads(prolu("version", "--json")[1])["database"] == "sqlite"
    monkeypatch.delenv("PROLU_URL")
    monkeypatch.setenv("PROLU_DATA_DIR", str(tmp_path))
    status, out, _ = prolu("version")
    assert status == OK
    assert "none (No service is known" in out


def test_every_command_says_what_it_is_for(prolu: Prolu) -> None:
    status, overview, _ = prolu("--help")
    assert status == OK
    assert "Exit status" in overview
    for command in COMMANDS:
        name = command.__name__
        assert f" {name} " in overview
        assert command.__doc__ is not None
        assert command.__doc__.split(".")[0].split(",")[0][:30] in prolu(name, "--help")[1]


def test_a_second_up_on_a_data_directory_is_refused(prolu: Prolu, tmp_path: Path) -> None:
    from prolu.client.up.holding import hold

    with hold(tmp_path / "data", say=print):
        status, _, err = prolu("up", "--data-dir", str(tmp_path / "data"))
    assert status == BAD_INPUT
    assert "is held by process" in err
    assert len(err.splitlines()) == 1


def test_up_refuses_an_address_that_is_taken_or_is_none(prolu: Prolu, service: Running, tmp_path: Path) -> None:
    port = service.url.rpartition(":")[2]
    status, _, err = prolu("up", "--data-dir", str(tmp_path / "data"), "--port", port)
    assert status == BAD_INPUT
    assert "choose another with --port" in err
    assert prolu("up", "--data-dir", str(tmp_path / "data"), "--host", "no.such.host.invalid")[0] == BAD_INPUT
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["up.lock"]


def test_a_wait_that_people_would_notice_is_told_with_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    from prolu.client.cli.connecting import _tell

    _tell(0.25, "no service answers: refused")
    _tell(20.0, "http://service answers 503: The database\nis away.")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "prolu: trying again in 20 s, since http://service answers 503: The database is away.\n"


def test_names_and_messages_neither_steer_the_terminal_nor_are_markup(prolu: Prolu, client: Client, desk: Desk) -> None:
    sweep = client.sweeps.submit({**SWEEP, "name": "[red]x[/red]"})
    for one in desk.claim():
        desk.fail(one, "[red]x[/red]\x1b[2J\x9b1m\u202eabc")
    for arguments in (["show", str(one)], ["watch", str(one)], ["watch", str(sweep.id)]):
        _, out, err = prolu(*arguments)
        assert not {"\x1b", "\x9b", "\u202e"} & set(out + err)
        assert r"[red]x[/red]\x1b[2J\x9b1m\u202eabc" in out + err
    for arguments in (["ls", "--sweeps"], ["show", str(sweep.id)], ["results", str(sweep.id)]):
        assert "[red]x[/red]" in prolu(*arguments)[1]


@pytest.mark.parametrize("arguments", [["ls"], ["biases", "RUN"]])
def test_a_terminal_without_these_letters_gets_others(
    service: Running, client: Client, desk: Desk, arguments: list[str]
) -> None:
    run = client.runs.submit({**RUN, "name": "\xe9t\xe9"})
    desk.train(*desk.claim())
    environment = {**os.environ, "PROLU_URL": service.url, "PROLU_TOKEN": service.token, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "prolu.client.cli", *(str(run.id) if word == "RUN" else word for word in arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (OK, "")
    assert "?" in done.stdout
