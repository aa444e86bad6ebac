"""What counts as English prose."""

import pytest

from prolu.data.prose import distinct_prose, is_prose, prose_paragraphs

SENTENCE = "This function returns the first of the two values that it was given, or none of them."


def test_a_sentence_is_prose() -> None:
    assert is_prose(SENTENCE)


@pytest.mark.parametrize(
    "text",
    [
        "Too short to be of use.",
        ">>> for value in the_list_of_all: print(value, 'is in it and of it')",
        "a=1; b=2; c=[(x, y) for x in range(10)]; d={}; e=f(a)(b)[c](d)",
        "numpy scipy pandas torch jax flax optax equinox haiku sonnet trax",
        "Das ist ein deutscher Satz, der nicht zu dem englischen Text passt, den wir suchen.",
        "| column | other | third | 1.0 | 2.0 | 3.0 | ---- | ---- | ---- | ==== |",
    ],
)
def test_what_is_not_running_english_is_dropped(text: str) -> None:
    assert not is_prose(text)


def test_markup_and_code_are_removed() -> None:
    text = (
        f"[![badge](https://x.org/a.png)](https://x.org)\n\n```python\n{SENTENCE}\n```\n\n<p align='center'>{SENTENCE}</p>\n\n"
        "See [the long manual of this tool](https://x.org/manual) for more of what it can do with it.\n\n-----"
    )
    assert prose_paragraphs(text) == [
        SENTENCE,
        "See the long manual of this tool for more of what it can do with it.",
    ]


def test_a_paragraph_is_kept_only_where_it_stands_first() -> None:
    other = "Another sentence that is not like the one that was given before it."
    texts = [f"{SENTENCE}\n\n{other}", SENTENCE.upper(), f"{SENTENCE}\n\n{other} And it goes on for a while."]
    assert list(distinct_prose(texts)) == [f"{SENTENCE}\n\n{other}", f"{other} And it goes on for a while."]
