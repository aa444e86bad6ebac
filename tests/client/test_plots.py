"""The pictures say what they show: labels with units, a legend, and what was drawn is what was measured."""

from pathlib import Path
from uuid import UUID

import pytest

from prolu.client.plots import BiasSeries, bias_figure, frontier_figure, save
from prolu.client.wire import BiasSnapshotRead, ResultRow
from prolu.spec.report import BiasPopulation, BiasStatistics, Distribution, Histogram


def snapshot(step: int, low: float, high: float) -> BiasSnapshotRead:
    """Biases spread evenly from low to high."""
    middle = (low + high) / 2
    values = Distribution(
        mean=middle,
        std=1.0,
        min=low,
        max=high,
        quantiles={"0.01": low, "0.05": low, "0.5": middle, "0.95": high, "0.99": high},
        histogram=Histogram(
            edges=[low, middle, high] if high > low else [low - 0.5, low + 0.5],
            counts=[10, 10] if high > low else [20],
        ),
    )
    population = BiasPopulation(
        count=20, fraction_negative=0.9, fraction_zero=0.0, fraction_positive=0.1, bias=values, threshold=values
    )
    statistics = BiasStatistics(all=population, alive=population, dead=population)
    return BiasSnapshotRead(run_id=UUID(int=0), step=step, tokens=step, statistics=statistics)


def series(variant: str, coefficient: float, steps: int = 5) -> BiasSeries:
    return BiasSeries(variant, coefficient, [snapshot(10 * step, -0.1 * step, 0.02 * step) for step in range(steps)])


def result(variant: str | None, l0: float, fvu: float, coefficient: float) -> ResultRow:
    return ResultRow(
        run_id=UUID(int=0),
        point=0,
        name="",
        variant=variant,
        state="succeeded",
        set={"sparsity.coefficient": coefficient},
        step=1,
        metrics={"l0": l0, "fvu": fvu},
        bias={},
    )


def test_the_bias_figure_has_a_row_per_variant_with_labelled_axes_and_legends(tmp_path: Path) -> None:
    figure = bias_figure([series("relu", 1e-3), series("relu", 4e-3), series("prolu", 1e-3), series("prolu", 2e-3)])
    assert len(figure.axes) == 6
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.get_legend() is not None
    assert "prolu, λ = 0.002" in {axes.get_title() for axes in figure.axes}
    assert "λ = 0.001: 90.0 % below 0" in {text.get_text() for text in figure.axes[2].get_legend().get_texts()}
    save(figure, tmp_path / "biases.png")
    assert (tmp_path / "biases.png").stat().st_size > 20_000


def test_of_many_coefficients_the_smallest_and_the_largest_are_drawn_over_training() -> None:
    figure = bias_figure([series("relu", coefficient) for coefficient in (3e-3, 1e-3, 2e-3)])
    assert [axes.get_title() for axes in figure.axes] == ["relu, λ = 0.001", "relu, λ = 0.003", "relu, at step 40"]
    assert len(figure.axes[2].get_legend().get_texts()) == 3


def test_a_run_with_a_single_snapshot_and_one_without_any_can_be_drawn(tmp_path: Path) -> None:
    figure = bias_figure([series("relu", 1e-3, steps=1), series("prolu", 1e-3, steps=0)])
    save(figure, tmp_path / "one.svg")
    assert len(figure.axes) == 2


def test_the_frontier_shows_each_run_where_it_was_measured_with_its_coefficient(tmp_path: Path) -> None:
    figure = frontier_figure(
        [result("relu", 30, 0.2, 1e-3), result("relu", 10, 0.4, 4e-3), result("prolu", 12, 0.3, 1e-3)]
    )
    (axes,) = figure.axes
    assert {tuple(map(tuple, line.get_xydata())) for line in axes.lines} == {((10, 0.4), (30, 0.2)), ((12, 0.3),)}
    assert {text.get_text() for text in axes.texts} == {"λ = 0.001", "λ = 0.004"}
    assert "L0" in axes.get_xlabel()
    assert "FVU" in axes.get_ylabel()
    save(figure, tmp_path / "frontier.png")


def test_a_wide_range_of_l0_gets_a_logarithmic_axis() -> None:
    wide = frontier_figure([result(None, 2, 0.9, 1e-1), result(None, 400, 0.1, 1e-5)])
    assert wide.axes[0].get_xscale() == "log"


def test_a_frontier_of_no_finished_run_is_empty_and_still_labelled() -> None:
    assert frontier_figure([]).axes[0].get_xlabel()


def test_another_ending_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="xyz"):
        save(frontier_figure([]), tmp_path / "picture.xyz")
