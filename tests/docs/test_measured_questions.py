"""The answers of docs/questions.md are those of docs/measured/questions.json, which is what `make questions` wrote."""

import json
from pathlib import Path
from typing import Any

import pytest

from prolu.spec import SweepSpec, digest_of, parse, validate
from service.domain.expansion import expand

ROOT = Path(__file__).parents[2]
PAGE = " ".join((ROOT / "docs/questions.md").read_text(encoding="utf-8").split())
MEASURED: dict[str, Any] = json.loads((ROOT / "docs/measured/questions.json").read_text(encoding="utf-8"))
SWEEPS = sorted((ROOT / "examples/questions").glob("*.yaml"))

Point = dict[str, Any]


def points(question: str, variant: str) -> list[Point]:
    """The points of a variant, by rising level."""
    found = [point for point in MEASURED[question]["points"] if point["variant"] == variant]
    return sorted(found, key=lambda point: point["level"])


def negative(point: Point) -> str:
    return f"{100 * point['bias']['fraction_negative']['mean']:.1f} %"


def median(point: Point) -> str:
    return f"{point['bias']['median']['mean']:.3f}"


def slack(question: str, variant: str) -> str:
    return spoken(f"{100 * point['bias']['fraction_positive']['mean']:.1f} %" for point in points(question, variant))


def spoken(parts: Any) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}"


def more(question: str, of: str, metric: str) -> str:
    """What a variant loses more than the other at equal L0."""
    (found,) = [one for one in MEASURED[question]["at_equal_l0"] if (one["of"], one["metric"]) == (of, metric)]
    return f"{-100 * found['lower_by']:+.1f} %"


def difference(variant: str, metric: str) -> str:
    """Of a variant's mean from that of ProLU with STE on both, relative."""
    (mine,), (theirs,) = points("05-which-half", variant), points("05-which-half", "prolu-ste")
    return f"{100 * (mine['metrics'][metric]['mean'] / theirs['metrics'][metric]['mean'] - 1):+.1f} %"


def kernels(names: set[str], form: str) -> list[float]:
    """FVU of the kernels in one form."""
    return [
        point["metrics"]["fvu"]["mean"]
        for point in MEASURED["06-estimators"]["points"]
        if point["variant"] in names and point["set"]["sae.estimator.form"] == form
    ]


def span(values: list[float]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def cosines(estimator: str) -> str:
    """Of the penalty's update of all parameters with descent of L0, over runs and bandwidths."""
    return span(
        [
            one["cosine"]["mean"]
            for one in MEASURED["08-alignment"]["gradient_alignment"]
            if (one["part"], one["objective"], one["group"]) == ("penalty", "l0", "all")
            and json.loads(one["estimator"])["kind"] == estimator
        ]
    )


SMOOTH = {"rectangle", "triangle", "gaussian", "sigmoid"}
STEPS = {"heaviside", "identity", "clamp01", "clamp11"}
ANSWERS = {
    "01": (
        f"{negative(points('01-biases', 'prolu-ste')[0])} of the biases end below zero with STE and "
        f"{negative(points('01-biases', 'prolu-relu_like')[0])} with the ReLU-like gradient, with medians of "
        f"{median(points('01-biases', 'prolu-ste')[0])} and {median(points('01-biases', 'prolu-relu_like')[0])}"
    ),
    "02": "; ".join(
        f"{said} from {negative(found[0])} to {negative(found[-1])} below zero and a median of "
        f"{median(found[0])} to {median(found[-1])}"
        for said, found in (
            ("with the ReLU-like gradient", points("02-coefficient", "prolu-relu_like")),
            ("with STE", points("02-coefficient", "prolu-ste")),
        )
    ),
    "03": f"{slack('03-slack', 'prolu-relu_like')} with the ReLU-like gradient, {slack('03-slack', 'prolu-ste')} with STE",
    "04": (
        f"{more('04-hybrid', 'prolu_hybrid', 'fvu')} of FVU and "
        f"{more('04-hybrid', 'prolu_hybrid', 'ce_lost')} of lost cross-entropy"
    ),
    "05": "; ".join(
        f"{said} {difference(variant, 'fvu')} FVU at an L0 of {difference(variant, 'l0')}"
        for said, variant in (
            ("on the bias only", "prolu-ste_bias_only"),
            ("on the input only", "prolu-ste_input_only"),
            ("ReLU-like", "prolu-relu_like"),
        )
    ),
    "06": (
        f"smooth kernels of that width end at an FVU of {span(kernels(SMOOTH, 'gate'))} as gates and "
        f"{span(kernels(SMOOTH, 'product'))} as products, `unit` at {span(kernels({'unit'}, 'gate'))} and "
        f"{span(kernels({'unit'}, 'product'))}, steps and clamps at {span(kernels(STEPS, 'gate'))} and "
        f"{span(kernels(STEPS, 'product'))}, `exp` at {span(kernels({'exp'}, 'gate'))} and {span(kernels({'exp'}, 'product'))}"
    ),
    "07": (
        f"{more('07-relu-ste', 'relu-ste', 'fvu')} of FVU and {more('07-relu-ste', 'relu-ste', 'ce_lost')} of lost cross-entropy"
    ),
    "08": f"{cosines('ste')} with STE, {cosines('relu_like')} with the ReLU-like gradient",
    "09": spoken(
        f"{family} {more('09-frontier', family, 'fvu')}" for family in ("gated", "topk", "batch_topk", "jumprelu")
    ),
}


@pytest.mark.parametrize("question", sorted(ANSWERS))
def test_the_answer_to_a_question_is_what_was_measured(question: str) -> None:
    assert ANSWERS[question] in PAGE


def test_the_penalty_s_update_points_less_to_l0_with_ste_wherever_it_was_measured() -> None:
    found = {
        (json.loads(one["estimator"])["kind"], one["run"], one["bandwidth"]): one["cosine"]["mean"]
        for one in MEASURED["08-alignment"]["gradient_alignment"]
        if (one["part"], one["objective"], one["group"]) == ("penalty", "l0", "all")
    }
    places = {(run, bandwidth) for _, run, bandwidth in found}
    assert len(places) == 12
    assert all(found["ste", *place] < found["relu_like", *place] for place in places)
    assert "over three trained autoencoders and four bandwidths, and lower with STE in every one of them" in PAGE


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_sweep_that_was_measured_is_the_one_that_is_shipped(path: Path) -> None:
    sweep = expand(validate(parse(path.read_text(encoding="utf-8")), SweepSpec))
    assert MEASURED[path.stem]["sweep"] == digest_of([point.digest for point in sweep])
    assert MEASURED[path.stem]["runs"] == len(sweep)
    assert sum(max(1, len(point["seeds"])) for point in MEASURED[path.stem]["points"]) == len(sweep), (
        "a run of it did not succeed"
    )


def test_the_questions_are_sized_as_they_ran() -> None:
    assert f"{sum(one['runs'] for one in MEASURED.values())} runs" in PAGE
