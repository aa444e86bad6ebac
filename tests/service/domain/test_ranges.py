"""Range, If-Range and If-None-Match as RFC 9110 has them; what is odd gets the whole file, never an error but 416."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.errors import UnsatisfiableRange
from service.domain.ranges import Span, names_tag, span_asked_for

TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("BYTES = 10-19", (10, 20)),
        ("bytes=,10-19 ,", (10, 20)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=99-99999999999999999999999999999999", (99, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=0000000000000000000000000001-2", (1, 3)),
    ],
)
def test_one_range_is_what_it_says(header: str, span: tuple[int, int]) -> None:
    assert span_asked_for(header, 100) == Span(*span)


@pytest.mark.parametrize(
    "header",
    [
        "", "bytes", "bytes=", "bytes=-", "bytes=5-3", "bytes=a-b", "bytes=1--2", "bytes=-1-2", "items=0-1", "bytes=0-1,3-4",
        "bytes=0x1-2", "bytes=1 - 2", "bytes=+1-2", "bytes=\u0661-\u0662", "bytes=" + "0-0," * 1000, "bytes=0-" + "9" * 1000,
    ],
)  # fmt: skip
def test_what_is_no_single_range_gets_the_whole_file(header: str) -> None:
    assert span_asked_for(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999-"])
def test_a_range_without_a_byte_of_the_file_is_refused_with_its_size(header: str) -> None:
    with pytest.raises(UnsatisfiableRange, match="has 100 bytes") as refused:
        span_asked_for(header, 100)
    assert refused.value.size == 100


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-1"])
def test_an_empty_file_has_no_range(header: str) -> None:
    with pytest.raises(UnsatisfiableRange):
        span_asked_for(header, 0)


def test_a_range_counts_only_for_the_file_that_the_client_began_with() -> None:
    assert span_asked_for("bytes=5-", 100, if_range=TAG, tag=TAG) == Span(5, 100)
    for other in ('"abd"', 'W/"abc"', "abc", "Sat, 29 Oct 1994 19:43:31 GMT", ""):
        assert span_asked_for("bytes=5-", 100, if_range=other, tag=TAG) is None


@pytest.mark.parametrize("header", ["*", " * ", TAG, 'W/"abc"', '"x", "abc"', '"x",W/"abc" , "y"', '"a,b","abc"'])
def test_a_list_of_tags_names_the_present_one_weakly_too(header: str) -> None:
    assert names_tag(header, TAG)


@pytest.mark.parametrize("header", [None, "", "abc", '"abcd"', '"xabc"', '"*"', '"x, abc"', "'abc'", '"abc'])
def test_another_tag_is_another_file(header: str | None) -> None:
    assert not names_tag(header, TAG)


@settings(max_examples=60)
@given(st.text(max_size=60), st.integers(0, 10_000))
def test_whatever_is_sent_is_a_part_of_the_file_or_refused(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        try:
            span = span_asked_for(text, size)
        except UnsatisfiableRange:
            continue
        assert span is None or 0 <= span.start < span.stop <= size
