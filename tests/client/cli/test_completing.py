"""Shell completion, by the protocol that the scripts for bash, zsh and fish speak."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from prolu.client import Client
from prolu.client.cli import completing
from prolu.client.cli.app import run
from service.domain.filters import columns
from tests.client.conftest import Prolu
from tests.client.desk import RUN, Desk

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complete:
    """What a shell is told for words, of which the last is half typed."""

    def complete(*words: str, kind: str = "bash") -> list[str]:
        monkeypatch.setenv("_PROLU_COMPLETE", f"complete_{kind}")
        typed = " ".join(["prolu", *(f"'{word}'" if " " in word or '"' in word else word for word in words)])
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", typed)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        monkeypatch.setenv("COMP_WORDS", typed)
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        with pytest.raises(SystemExit) as ended:
            run([])
        said = capsys.readouterr()
        assert (ended.value.code, said.err) == (0, "")
        return said.out.split() if kind == "bash" else said.out.splitlines()

    return complete


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROLU_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("PROLU_TOKEN", "prolu_" + "x" * 43)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_options_and_values_are_completed_in_each_shell(complete: Complete, shell: str, nobody: None) -> None:
    told = "\n".join(complete("swe", kind=shell))
    assert "sweep" in told
    assert "sweeps" in told
    assert "preview" not in told
    told = "\n".join(complete("runs", "--state", "can", kind=shell))
    assert "cancelled" in told
    assert "running" not in told


def test_runs_and_sweeps_are_offered_by_the_ends_of_their_ids(
    prolu: Prolu, complete: Complete, client: Client, finished: UUID
) -> None:
    alone = client.runs.submit({**RUN, "name": "a:b"}).id
    everything = complete("show", "")
    assert everything[0] == "last"
    assert {str(finished)[-8:], str(alone)[-8:]} <= {*everything}
    assert complete("results", "") == ["last", str(finished)[-8:]]
    assert complete("explain", str(alone)[-8:][:6]) == [str(alone)[-8:]]
    (described,) = [line for line in complete("explain", "", kind="zsh") if str(alone)[-8:] in line]
    assert "a b (queued)" in described


def test_nodes_are_offered(prolu: Prolu, complete: Complete, desk: Desk) -> None:
    desk.see_nodes()
    assert complete("drain", "127") == ["127.0.0.1/abcd"]


def test_presets_are_offered(complete: Complete, nobody: None) -> None:
    assert complete("sweep", "file.yaml", "--preset", "p") == ["post"]


def test_paths_are_offered_up_to_the_next_dot_for_the_last_of_several(prolu: Prolu) -> None:
    assert completing.paths("st") == [(name, "") for name in ("started_at", "state", "step", "stopped_early")]
    assert completing.paths("name,spec.sp") == [("name,spec.sparsity.", "")]
    assert ("name, spec.sparsity.kind", "") in completing.paths("name, spec.sparsity.")
    assert completing.paths("metrics.fv") == [("metrics.fvu", "")]
    assert completing.paths("nowhere.") == []


def test_a_filter_is_completed_with_paths_and_where_a_state_is_compared_with_states(prolu: Prolu) -> None:
    assert completing.filter_text("metrics.l0 < 50 AND sta") == [
        (f"metrics.l0 < 50 AND {name}", "") for name in ("started_at", "state")
    ]
    assert completing.filter_text('NOT state = "suc') == [('NOT state = "succeeded"', "")]
    assert completing.filter_text("state = fai") == [('state = "failed"', "")]
    assert completing.filter_text('state IN ("failed", can') == [('state IN ("failed", "cancelled"', "")]


def test_the_paths_of_a_run_are_those_that_the_language_has() -> None:
    known = [name for name in columns() if "." not in name]
    assert sorted(completing.OF_RUNS) == sorted(known)
    assert {name.partition(".")[0] for name in columns() if "." in name} == {*completing.PARTS}


def test_where_no_service_answers_nothing_is_offered_and_nothing_said(
    complete: Complete, nobody: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert complete("show", "") == []
    assert complete("runs", "--order-by", "metrics.") == []
    monkeypatch.setenv("PROLU_URL", "no address")
    assert complete("results", "") == []


def test_the_script_for_a_shell_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        monkeypatch.setenv("_PROLU_COMPLETE", f"source_{shell}")
        with pytest.raises(SystemExit) as ended:
            run([])
        assert ended.value.code == 0
        assert f"_PROLU_COMPLETE=complete_{shell}" in capsys.readouterr().out


def test_the_archive_alone_is_offered_to_be_taken_out_of_it(
    prolu: Prolu, complete: Complete, client: Client, finished: UUID
) -> None:
    alone = client.runs.submit(RUN).id
    client.sweeps.archive(finished)
    archived = {str(one)[-8:] for one in (finished, *(run.id for run in client.runs.list(sweep=finished)))}
    assert {*complete("unarchive", "")} == archived
    assert str(alone)[-8:] not in archived
