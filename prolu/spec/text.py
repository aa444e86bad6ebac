"""Kinds of text in the job language, each with a pattern and the words that say what the pattern asks.

No text holds control characters (C0, C1), line or paragraph separators, or marks that turn the direction of writing: they
garble terminals and logs, make one name look like another, and PostgreSQL stores no NUL.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

_PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"
_HUB_NAME = r"^\w[\w.\-]*(/\w[\w.\-]*)?$"
_PATH = r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$"
# Of ASCII, and of one case: no two names look alike, and none is a path.
_USER_NAME = r"^[a-z0-9]([a-z0-9._@-]*[a-z0-9])?$"
_LINES = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$"
_TAG = r"^[\w.+@#=\-]+(:[\w.+@#=\-]+)?$"

# What a person must write, by the pattern that their text did not match.
PATTERN_WORDS = {
    _PRINTABLE: "text without line breaks, tabs or other control characters",
    _HUB_NAME: "a Hugging Face id such as 'owner/name'",
    _PATH: "a place in a run such as 'sparsity.coefficient'",
    _USER_NAME: "a name of small letters a-z, digits and . _ - @, such as 'ada' or 'ada@lab.org'",
    _LINES: "text without control characters other than line breaks and tabs",
    _TAG: "a tag such as 'baseline' or 'paper:figure-3', of letters, digits and . _ + @ # = -",
}

Name = Annotated[str, StringConstraints(max_length=200, pattern=_PRINTABLE)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_TAG)]
# Markdown, for people.
Note = Annotated[str, StringConstraints(max_length=10_000, pattern=_LINES)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PRINTABLE)]
ShortLabel = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PRINTABLE)]
UserName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_USER_NAME)]
# A file, a folder, or the id of a model.
Location = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=_PRINTABLE)]
HubName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_HUB_NAME)]
# A place in a run: `sae.estimator.kind`, `sparsity.coefficient`.
SpecPath = Annotated[str, StringConstraints(max_length=200, pattern=_PATH)]
