"""Keep the English prose of documentation: drop markup, code, tables and what was already seen. Knows no files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator

_MIN_WORDS = 8
_MIN_SHARE_OF_LETTERS = 0.8
_MIN_SHARE_OF_FUNCTION_WORDS = 0.2

# The commonest English words; running prose has about 40 %, lists of names and code nearly none.
_COMMON = (
    "a an and any are as at be been but by can do does for from has have if in into is it its may no not of on one or "
    "other should so such than that the their them then there these they this to use used was we when where which will "
    "with you your"
)
_FUNCTION_WORDS = frozenset(_COMMON.split())
_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_TAG = re.compile(r"</?[a-zA-Z][^>]*>")
_BLANK_LINES = re.compile(r"\n\s*\n")
_WORD = re.compile(r"[A-Za-z']+")


def prose_paragraphs(text: str) -> list[str]:
    """Return the paragraphs of `text` that are English prose, each on one line, without Markdown and HTML."""
    plain = _TAG.sub("", _LINK.sub(r"\1", _IMAGE.sub("", _FENCED.sub("", text))))
    paragraphs = (" ".join(block.split()) for block in _BLANK_LINES.split(plain))
    return [paragraph for paragraph in paragraphs if is_prose(paragraph)]


def is_prose(paragraph: str) -> bool:
    """Whether a paragraph has at least 8 words, at least 80 % letters and spaces, and a fifth of common English words."""
    words = _WORD.findall(paragraph.lower())
    if len(words) < _MIN_WORDS or paragraph.startswith((">>>", ".. ")):
        return False
    letters = sum(character.isalpha() or character == " " for character in paragraph)
    common = sum(word in _FUNCTION_WORDS for word in words)
    return letters >= _MIN_SHARE_OF_LETTERS * len(paragraph) and common >= _MIN_SHARE_OF_FUNCTION_WORDS * len(words)


def distinct_prose(texts: Iterable[str]) -> Iterator[str]:
    """Yield the prose of each text, without the paragraphs that stood in an earlier one.

    Licences and templates repeat each other with a name changed; so held-out documents share no paragraph with training.
    """
    seen: set[bytes] = set()
    for text in texts:
        fresh = []
        for paragraph in prose_paragraphs(text):
            digest = hashlib.sha256(paragraph.lower().encode()).digest()
            if digest not in seen:
                seen.add(digest)
                fresh.append(paragraph)
        if fresh:
            yield "\n\n".join(fresh)
