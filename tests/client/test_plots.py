"""The pictures say what they show: labels with units, a legend, and what was drawn is what was measured."""

from pathlib import Path
from typing import Any

import pytest

from prolu.client.plots import (
    alignment_figure,
    bias_figure,
    frontier_figure,
    level_figure,
    run_bias_figure,
    save,
)
from prolu.client.plots.alignment import estimator_label
from prolu.client.wire import SparsityLevel
from prolu.spec.report import Estimate
from tests.client.pictured import (
    alignments,
    estimate,
    full_series,
    group,
    last_biases,
    level,
    result,
    series,
)


def visible(figure: Any) -> list[Any]:
    """The panels that are shown, without the bars of colours."""
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]


def test_the_bias_figure_has_a_row_per_variant_with_labelled_axes_and_legends(tmp_path: Path) -> None:
    figure = bias_figure(
        [
            series("relu", level(1e-3)),
            series("relu", level(4e-3)),
            series("prolu", level(1e-3)),
            series("prolu", level(2e-3)),
        ]
    )
    assert len(figure.axes) == 6
    for axes in figure.axes:
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.get_legend() is not None
    assert "prolu, λ = 0.002" in {axes.get_title() for axes in figure.axes}
    assert "λ = 0.001: 90.0 % below 0" in {text.get_text() for text in figure.axes[2].get_legend().get_texts()}
    save(figure, tmp_path / "biases.png")
    assert (tmp_path / "biases.png").stat().st_size > 20_000


def test_of_many_levels_the_lowest_and_the_highest_are_drawn_over_training() -> None:
    figure = bias_figure([series("relu", level(coefficient)) for coefficient in (3e-3, 1e-3, 2e-3)])
    assert [axes.get_title() for axes in figure.axes] == ["relu, λ = 0.001", "relu, λ = 0.003", "relu, at step 40"]
    assert len(figure.axes[2].get_legend().get_texts()) == 3


def test_repetitions_over_seeds_share_a_panel_and_a_line() -> None:
    figure = bias_figure([series("relu", level(coefficient)) for coefficient in (1e-3, 1e-3, 2e-3, 2e-3)])
    assert [axes.get_title() for axes in figure.axes] == ["relu, λ = 0.001", "relu, λ = 0.002", "relu, at step 40"]
    assert len(figure.axes[2].get_legend().get_texts()) == 2


def test_variants_need_no_coefficient() -> None:
    figure = bias_figure([series("topk", level(8, "k")), series("topk", level(16, "k")), series("odd", None)])
    titles = [axes.get_title() for axes in visible(figure)]
    assert titles == ["topk, k = 8", "topk, k = 16", "topk, at step 40", "odd", "odd, at step 40"]


def test_a_run_with_a_single_snapshot_and_one_without_any_can_be_drawn(tmp_path: Path) -> None:
    figure = bias_figure([series("relu", level(1e-3), steps=1), series("prolu", level(1e-3), steps=0)])
    save(figure, tmp_path / "one.svg")
    assert len(figure.axes) == 2


def test_of_a_run_everything_that_is_known_gets_a_panel(tmp_path: Path) -> None:
    figure = run_bias_figure(full_series())
    assert [axes.get_title() for axes in visible(figure)] == [
        "Over training (shade: each column to its own peak)",
        "At step 10",
        "Bias against log10 of the firing frequency",
        "Bias against norm of the decoder row",
        "Sign flips since the snapshot before",
        "Drift since the snapshot before",
    ]
    for axes in visible(figure):
        assert axes.get_xlabel()
        assert axes.get_ylabel()
    flips = visible(figure)[4]
    assert [tuple(point) for point in flips.lines[0].get_xydata()] == [(10, 10.0)]  # 2 of 20 latents
    save(figure, tmp_path / "run.png")


def test_of_a_run_that_tells_less_the_panels_are_fewer(tmp_path: Path) -> None:
    figure = run_bias_figure(series("prolu", None, steps=1), population="alive")
    assert len(visible(figure)) == 2
    assert figure.get_suptitle() == "Biases of prolu (alive latents)"
    save(figure, tmp_path / "run.png")


def test_biases_by_level_are_lines_per_variant_and_histograms_below(tmp_path: Path) -> None:
    rows = [
        last_biases(variant, level(coefficient), low, point)
        for point, (variant, coefficient, low) in enumerate(
            [("relu", 1e-3, -1.0), ("relu", 1e-2, -2.0), ("prolu", 1e-3, -3.0), ("prolu", 1e-2, -4.0)]
        )
    ]
    figure = level_figure(rows)
    negative, quantiles, slack, *histograms = visible(figure)
    assert [axes.get_title() for axes in histograms] == ["relu, last snapshots", "prolu, last snapshots"]
    assert negative.get_ylabel() == "% of latents with b < 0"
    assert [tuple(point) for point in slack.lines[0].get_xydata()] == [(1e-3, 10.0), (1e-2, 10.0)]
    medians = {round(float(y), 3) for line in quantiles.lines for y in line.get_ydata()}
    assert {-0.5, -1.5, -2.5, -3.5} <= medians
    assert negative.get_xscale() == "log"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["relu", "prolu"]
    save(figure, tmp_path / "levels.png")


def test_levels_of_different_kinds_have_axes_of_their_own() -> None:
    rows = [
        last_biases("relu", level(1e-3), -1.0),
        last_biases("topk", level(8, "k"), -1.0, 1),
        last_biases("steered", level(30, "target_l0"), -1.0, 2),
        last_biases("odd", None, -1.0, 3),
    ]
    figure = level_figure(rows)
    assert len(visible(figure)) == 3 * 3 + 4
    labels = [axes.get_xlabel() for axes in visible(figure)[:9:3]]
    assert labels == [
        "λ, the coefficient of the sparsity penalty",
        "k, latents that fire per token",
        "L0 to which λ is steered",
    ]


def test_biases_without_any_level_are_histograms_alone() -> None:
    assert len(visible(level_figure([last_biases(None, None, -1.0)]))) == 1


def test_the_frontier_shows_each_run_where_it_was_measured_with_its_level(tmp_path: Path) -> None:
    figure = frontier_figure(
        [
            result("relu", {"l0": 30, "fvu": 0.2}, level(1e-3)),
            result("relu", {"l0": 10, "fvu": 0.4}, level(4e-3)),
            result("topk", {"l0": 12, "fvu": 0.3}, level(12, "k")),
            result("failed", {}),
        ]
    )
    (axes,) = figure.axes
    assert {tuple(map(tuple, line.get_xydata())) for line in axes.lines} == {((10, 0.4), (30, 0.2)), ((12, 0.3),)}
    assert {text.get_text() for text in axes.texts} == {"λ = 0.001", "λ = 0.004", "k = 12"}
    assert "L0" in axes.get_xlabel()
    assert "FVU" in axes.get_ylabel()
    save(figure, tmp_path / "frontier.png")


def test_where_cross_entropy_was_measured_it_stands_beside_fvu() -> None:
    rows = [
        result("a", {"l0": 10, "fvu": 0.4, "ce_loss_score": 0.8}),
        result("a", {"l0": 20, "fvu": 0.2, "ce_loss_score": 0.7}),
        result("a", {"l0": 30, "fvu": 0.1, "ce_loss_score": 0.9}),
    ]
    score, fvu = frontier_figure(rows).axes
    assert "up and left is better" in score.get_title()
    assert [tuple(map(tuple, line.get_xydata())) for line in score.lines] == [((10, 0.8), (30, 0.9)), ((20, 0.7),)]
    assert [len(line.get_xdata()) for line in fvu.lines] == [3]


def test_over_seeds_the_frontier_has_bars_of_the_interval(tmp_path: Path) -> None:
    figure = frontier_figure([group("a", {"l0": estimate(10, 2), "fvu": estimate(0.4, 0.1)}, level(1e-3))])
    (axes,) = figure.axes
    bars = [segment for collection in axes.collections for segment in collection.get_segments()]
    assert sorted(tuple(map(tuple, bar.round(6))) for bar in bars) == [
        ((8.0, 0.4), (12.0, 0.4)),
        ((10.0, 0.3), (10.0, 0.5)),
    ]
    worth = "Bars: 95 % bootstrap interval over seeds, too narrow for few: of 2 or 3 it is only their range."
    assert worth in figure.get_supxlabel().splitlines(), "on a line of its own, which the picture is wide enough for"
    assert "over seeds" not in frontier_figure([group("a", {"l0": estimate(10), "fvu": estimate(0.4)})]).get_supxlabel()
    save(figure, tmp_path / "frontier.png")


def within(figure: Any, inner: Any, outer: Any) -> bool:
    figure.canvas.draw()
    text, box = inner.get_window_extent(), outer.get_window_extent()
    return bool(box.x0 <= text.x0 and text.x1 <= box.x1)


def test_labels_beside_the_outermost_points_stay_within_their_panel() -> None:
    targets = [SparsityLevel(kind="target_l0", value=value) for value in (30, 60, 120)]
    rows = [
        group(
            name,
            {"l0": estimate(at.value), "fvu": estimate(10 / at.value), "ce_loss_score": estimate(at.value / 200)},
            at,
        )
        for name in ("a", "b")
        for at in targets
    ]
    figure = frontier_figure(rows)
    for axes in figure.axes:
        assert len(axes.texts) == 6
        assert [text.get_text() for text in axes.texts if not within(figure, text, axes)] == []


def test_a_caption_is_broken_where_the_picture_ends() -> None:
    figure = bias_figure([series("prolu-ste", level(1e-3)), series("prolu-relu_like", level(2e-3))])
    assert within(figure, figure._supxlabel, figure)
    assert figure.get_supxlabel().startswith("Shade: density of latents")


def test_many_points_are_not_labelled_but_their_range_is_told() -> None:
    rows = [result("a", {"l0": 10 + index, "fvu": 1 / (1 + index)}, level(10.0**-index)) for index in range(20)]
    (axes,) = frontier_figure(rows).axes
    assert list(axes.texts) == []
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a (λ 1e-19 to 1)"]


def test_more_variants_than_colours_are_still_told_apart() -> None:
    rows = [result(f"v{index}", {"l0": 10 + index, "fvu": 0.4}) for index in range(20)]
    (axes,) = frontier_figure(rows).axes
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == 20


def test_a_wide_range_of_l0_gets_a_logarithmic_axis() -> None:
    wide = frontier_figure([result(None, {"l0": 2, "fvu": 0.9}), result(None, {"l0": 400, "fvu": 0.1})])
    assert wide.axes[0].get_xscale() == "log"


def test_a_frontier_of_no_finished_run_is_empty_and_still_labelled() -> None:
    assert frontier_figure([]).axes[0].get_xlabel()


def test_the_alignment_figure_has_a_row_per_group_and_a_column_per_objective(tmp_path: Path) -> None:
    figure = alignment_figure(alignments(), title="prolu")
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        "descent of smoothed L0",
        "descent of the reconstruction error",
    ]
    assert "W_enc" in figure.axes[0].get_ylabel()
    assert "bandwidth" in figure.axes[2].get_xlabel()
    lines = figure.axes[0].lines
    assert (0.01, 0.25) in {tuple(point) for line in lines for point in line.get_xydata()}
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "Updates of reconstruction + λ penalty, prolu"
    assert [text.get_text() for text in legend.get_texts()] == ["relu_like", "ste"]
    save(figure, tmp_path / "alignment.png")


def test_the_alignment_figure_says_over_how_many_batches_and_bars_only_what_has_an_error(tmp_path: Path) -> None:
    rows = alignments()
    assert "mean over 16 batches, bars: standard error" in alignment_figure(rows).get_supxlabel()
    alone = Estimate(mean=0.5, standard_error=None, n=1)
    figure = alignment_figure([rows[0].model_copy(update={"cosine": alone}), *rows[1:]])
    assert "mean over 1 to 16 batches, bars: standard error" in figure.get_supxlabel()
    save(figure, tmp_path / "alignment.png")
    figure = alignment_figure([one.model_copy(update={"cosine": alone}) for one in rows])
    assert "mean over 1 batch" in figure.get_supxlabel()
    save(figure, tmp_path / "alone.png")


def test_a_part_of_the_loss_is_drawn_alone_and_one_that_was_not_measured_is_refused() -> None:
    figure = alignment_figure(alignments(), part="penalty")
    assert figure.legends[0].get_title().get_text() == "Updates of the penalty alone"
    assert len(figure.axes[0].lines) == len(alignment_figure(alignments()).axes[0].lines)
    with pytest.raises(ValueError, match="no update of the reconstruction alone"):
        alignment_figure(alignments(), part="reconstruction")


def test_a_group_that_an_objective_never_moves_says_so() -> None:
    rows = [one for one in alignments() if (one.group, one.objective) != ("b_enc", "reconstruction")]
    panel = alignment_figure(rows).axes[3]
    assert [text.get_text() for text in panel.texts] == ["always zero"]


@pytest.mark.parametrize(
    ("estimator", "label"),
    [
        ('{"kind":"ste"}', "ste"),
        (
            '{"kind":"surrogate","kernel":{"kind":"rectangle","epsilon":0.05},"form":"product"}',
            "surrogate(rectangle, epsilon=0.05, form=product)",
        ),
        ('{"kind":"interpolated","w_m":0.5,"w_b":1.0,"w_gate":1.0}', "interpolated(w_m=0.5, w_b=1, w_gate=1)"),
        ("something else", "something else"),
    ],
)
def test_estimators_are_named_for_people(estimator: str, label: str) -> None:
    assert estimator_label(estimator) == label


def test_another_ending_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="xyz"):
        save(frontier_figure([]), tmp_path / "picture.xyz")
