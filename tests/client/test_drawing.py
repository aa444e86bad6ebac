"""Pictures of characters."""

from __future__ import annotations

from prolu.client.drawing import scatter


def test_a_picture_has_its_points_where_they_are_and_says_whose_they_are() -> None:
    lines = scatter({"a": [(1, 1), (3, 3)], "b": [(2, 2)]}, width=5, height=3, x="l0", y="fvu")
    assert lines == [
        "  fvu",
        "3 │    o",
        "  │  x",
        "1 │o",
        "  └─────",
        "   1l0 3",
        "   o a",
        "   x b",
    ]


def test_a_wide_range_of_positive_values_is_drawn_by_its_logarithm() -> None:
    lines = scatter({"a": [(1, 0), (10, 0), (100, 0)]}, width=21, height=2, x="l0", y="y")
    assert [index for index, letter in enumerate(lines[2].partition("│")[2]) if letter == "o"] == [0, 10, 20]
    assert "l0 (log)" in lines[-2]


def test_where_two_series_meet_neither_hides_the_other_and_nothing_is_drawn_of_nothing() -> None:
    assert "?" in "".join(scatter({"a": [(1, 1)], "b": [(1, 1)]}, x="x", y="y"))
    assert scatter({"a": []}, x="x", y="y") == []
