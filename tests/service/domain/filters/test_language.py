"""Filters become trees with positions, or are refused where they go wrong, whatever is sent."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.filters import And, Comparison, Match, Membership, Misread, Not, Or, Presence, column, parse
from service.domain.filters.conditions import leaves


def test_not_binds_before_and_and_and_before_or():
    found = parse('NOT state = "failed" AND metrics.l0 < 3 OR metrics.fvu > 1')
    assert isinstance(found, Or)
    first, second = found.terms
    assert isinstance(first, And)
    assert isinstance(first.terms[0], Not)
    assert isinstance(first.terms[0].term, Comparison)
    assert isinstance(second, Comparison)


def test_parentheses_join_what_they_hold():
    found = parse("metrics.l0 < 3 AND (metrics.fvu > 1 OR metrics.kl:*)")
    assert isinstance(found, And)
    assert isinstance(found.terms[1], Or)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("metrics.l0 = 50", 50.0),
        ("metrics.l0 = -.5e1", -5.0),
        ("spec.training.steps = 1e3", 1000),
        ('name = "a \\"b\\" \\\\"', 'a "b" \\'),
        ("name = 'it is \"b\"'", 'it is "b"'),
        ("preemptible = TRUE", True),
        ('created_at = "2026-01-31T14:00:00+02:00"', datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ('created_at = "2026-01-31"', datetime(2026, 1, 31, tzinfo=UTC)),
        ('id = "0193f8c2-a1b2-7c55-b1d5-f0e5a4c3d2b1"', UUID("0193f8c2a1b27c55b1d5f0e5a4c3d2b1")),
    ],
)
def test_a_value_is_of_the_type_of_its_column(text, value):
    found = parse(text)
    assert isinstance(found, Comparison)
    assert (found.value, type(found.value)) == (value, type(value))


def test_every_leaf_knows_where_it_stands():
    found = parse('  NOT (name:"x" or\n state not in ("failed"))and spec.sae:*')
    assert [(type(leaf), leaf.at) for leaf in leaves(found)] == [(Match, 7), (Membership, 20), (Presence, 48)]


def test_an_empty_filter_is_no_condition():
    assert parse(" \n") is None


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("metrics.ce_loss_scor > 0", "column 1", "did you mean metrics.ce_loss_score"),
        ("coefficient < 1", "column 1", "did you mean spec.sparsity.coefficient"),
        ('state:* AND\n stat = "failed"', "line 2, column 2", "did you mean state"),
        ("METRICS.L0 < 1", "column 1", "did you mean metrics.l0?"),
        ('state = "succeded"', "column 9", "did you mean 'succeeded'?"),
        ("state = succeeded", "column 9", "put a text into quotes"),
        ("metrics.l0 < ", "column 13", "it ends here; expected a text in quotes, a number, true or false"),
        ("metrics.l0 == 3", "column 13", "write = for equal"),
        ("metrics.l0 = null", "column 14", "NOT path:* for one that is missing"),
        ("metrics.l0 < 3 && state:*", "column 16", "write AND"),
        ("(metrics.l0 < 3", "column 16", "it ends here; expected )"),
        ("metrics.l0 < 3) OR state:*", "column 15", "got ')'; expected the end"),
        ('name:"x', "column 6", 'has no end; close it with "'),
        ('metrics.l0 < "3"', "column 14", "compared with a number, without quotes; got '3'"),
        ("preemptible = 1", "column 15", "true or false, without quotes; got 1"),
        ("metrics.l0 < 1e999", "column 14", "larger than any number"),
        ("metrics.l0 = true", "column 14", "is a number; got true"),
        ("spec.training.seed = 0.5", "column 22", "a whole number; got 0.5"),
        ("spec.training.seed = 9223372036854775808", "column 22", "below 2^63"),
        ("spec.sae = 3", "column 1", "name what is in it, such as spec.sae.d_sae"),
        ('spec.exports = "sae_lens"', "column 1", "is a list of texts; ask what it has"),
        ("spec.sae.prefixes = 3", "column 1", "is a list; ask whether it is there"),
        ('spec.exports:"saelens"', "column 14", "spec.exports never has 'saelens'; did you mean 'sae_lens'?"),
        ('metrics.l0:"3"', "column 1", ": looks into texts"),
        ('state < "failed"', "column 7", "has no order"),
        ('id = "3"', "column 6", "a whole id"),
        ('created_at > "yesterday"', "column 14", "a time such as"),
        ('created_at > "0001-01-01T00:00:00+14:00"', "column 14", "a time such as"),
        ('name = "\\n"', "column 8", "a backslash is written twice"),
        ('name = "\x00"', "column 9", "no database stores"),
        ('name = "\ud800"', "column 9", "no database stores"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_place_and_what_to_write(text, place, words):
    with pytest.raises(Misread) as refused:
        parse(text)
    assert f"filter, {place}: " in refused.value.sentence
    assert words in refused.value.sentence


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "NOT " * 900 + "state:*",
        "(" * 4_000,
        "(NOT " * 500 + "state:*" + ")" * 500,
        " OR ".join(["state:*"] * 101),
        "spec.sae.k IN (" + "1," * 600 + "1)",
        '"' + "\\" * 3_000,
        "name:" + "'" * 3_999,
    ],
)
def test_what_is_too_long_too_deep_or_too_much_is_refused(text):
    with pytest.raises(Misread):
        parse(text)


def test_what_is_as_deep_and_as_much_as_it_may_be_is_read():
    assert parse("NOT " * 15 + "state:*") is not None
    assert len(leaves(parse(" OR ".join(["state:*"] * 100)))) == 100
    assert parse("(" * 1_000 + "state:*" + ")" * 1_000) == Presence(column("state"), 1_000)


def _misread_at(text: str) -> int:
    """Where a filter goes wrong; 0 where it does not."""
    try:
        parse(text)
    except Misread as refused:
        return refused.at
    return 0


@given(st.text(max_size=60))
def test_no_text_raises_anything_but_a_misreading(text):
    assert 0 <= _misread_at(text) <= len(text)


_PIECES = [
    "state",
    "metrics.l0",
    "NOT",
    "AND",
    "or",
    "IN",
    "(",
    ")",
    ",",
    "=",
    "<",
    ":",
    "*",
    '"failed"',
    "3",
    "true",
    "'",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=12).map(" ".join))
def test_no_order_of_words_raises_anything_but_a_misreading(text):
    assert 0 <= _misread_at(text) <= len(text)
