"""Each of the ten questions is answered by the lines of docs/questions.md, which are run here on small runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prolu.spec import parse
from tests.client.desk import Running
from tests.docs.workshop import working_service

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/questions.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"^## (\d+)\. (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
MOST_LINES = 10


def lines_of(section: str) -> list[str]:
    """What a person has to write for a question: the lines of its Python."""
    return [line for line in "".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL)).splitlines() if line]


def small(sweep: dict[str, Any]) -> dict[str, Any]:
    """The same sweep with fewer alternatives, values and seeds, of a few steps on synthetic activations."""
    base = sweep["base"]
    base["data"] = {"kind": "synthetic", "d_in": 16, "n_features": 32, "eval_samples": 256}
    base["sae"] |= {"d_sae": 32}
    base["training"] |= {"steps": 40, "batch_size": 64, "metrics_every_steps": 20, "bias_snapshot_every_steps": 20}
    base["training"] |= {"lr_warmup_steps": 4, "lr_decay_steps": 8, "checkpoint_every_steps": 40}
    sweep["variants"] = sweep["variants"][:3] + [one for one in sweep["variants"][3:] if one["name"] == "topk"]
    for place in (sweep, *sweep["variants"]):
        for path, values in place.get("grid", {}).items():
            place["grid"][path] = [4, 8] if path.endswith(("target_l0", ".k")) else values[:2]
    if "seeds" in sweep:
        sweep["seeds"] = sweep["seeds"][:2]
    if "sparsity" in base and "controller" in base["sparsity"]:
        base["sparsity"]["controller"]["target_l0"] = 8
    return sweep


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all questions."""
    with working_service(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture
def desk_of_a_reader(service: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the reader of the page works: a folder with the examples, and a service to ask."""
    examples = tmp_path / "examples" / "questions"
    examples.mkdir(parents=True)
    for file in (ROOT / "examples/questions").glob("*.yaml"):
        (examples / file.name).write_text(json.dumps(small(parse(file.read_text()))))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROLU_URL", service.url)
    monkeypatch.setenv("PROLU_TOKEN", service.token)


def test_the_page_has_all_ten_questions_in_order() -> None:
    assert [int(number) for number, _, _ in QUESTIONS] == list(range(1, 11))


@pytest.mark.parametrize(("number", "section"), [(one, section) for one, _, section in QUESTIONS])
@pytest.mark.usefixtures("desk_of_a_reader")
def test_a_question_is_answered_by_at_most_ten_lines(
    number: str, section: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of(section)
    assert 0 < len(lines) <= MOST_LINES
    opening = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert opening is not None
    names: dict[str, Any] = {}
    exec(compile(opening[1], "the opening", "exec"), names)  # noqa: S102 it is our own page
    with names["client"]:
        exec(compile("\n".join(lines), f"question {number}", "exec"), names)  # noqa: S102
    assert capsys.readouterr().out.strip(), "an answer says something"
