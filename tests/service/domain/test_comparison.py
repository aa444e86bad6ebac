"""Specs and numbers side by side, by hand."""

from __future__ import annotations

from service.domain.comparison import compared, spec_differences


def test_only_what_differs_is_told_by_path_and_a_missing_place_is_no_null() -> None:
    first = {"name": "a", "sae": {"kind": "relu", "d_sae": 8}, "exports": ["x"], "limits": {"hours": None}}
    second = {"name": "b", "sae": {"kind": "topk", "k": 4, "d_sae": 8}, "exports": ["x"], "limits": {}}
    assert [(one.path, one.values) for one in spec_differences([first, second])] == [
        ("spec.sae.kind", ["relu", "topk"]),
        ("spec.limits.hours", [None, None]),
        ("spec.sae.k", [None, 4]),
    ]
    assert spec_differences([first, first]) == []


def test_numbers_are_told_minus_those_of_the_first_where_both_have_them() -> None:
    l0, fvu, kl = compared([{"l0": 10.0, "fvu": 0.5}, {"l0": 8.0, "kl": 1.0}])
    assert (l0.values, l0.differences) == ([10.0, 8.0], [0.0, -2.0])
    assert (fvu.values, fvu.differences) == ([0.5, None], [0.0, None])
    assert (kl.values, kl.differences) == ([None, 1.0], [None, None])
