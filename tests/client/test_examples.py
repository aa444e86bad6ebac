"""The examples are what they say: specs that are accepted as they stand."""

from pathlib import Path

from prolu.spec import RunSpec, SweepSpec, parse, validate
from service.domain.expansion import expand

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_demo_sweep_means_four_alternatives_with_two_coefficients_each_on_one_extraction() -> None:
    points = expand(validate(parse((EXAMPLES / "demo.yaml").read_text()), SweepSpec))
    assert [point.variant for point in points] == [
        variant for variant in ("relu-l1", "relu-sqrt_l1", "prolu-relu_like", "prolu-ste") for _ in range(2)
    ]
    assert len({point.spec.data_digest() for point in points}) == 1
    assert len({point.digest for point in points}) == 8
    assert {(point.spec.sae.kind, point.spec.sparsity.kind) for point in points} == {
        ("relu", "l1"),
        ("relu", "sqrt_l1"),
        ("prolu", "l1"),
    }


def test_the_synthetic_example_is_a_run() -> None:
    spec = validate(parse((EXAMPLES / "synthetic.yaml").read_text()), RunSpec)
    assert spec.data.kind == "synthetic"
