"""Writes the pages of the reference out of the code, as Markdown.

    commands    `prolu` and its commands
    settings    the operator's settings
    schemas     tables of the fields of a JSON Schema, for the two below
    language    the job language
    requests    the HTTP interface
    classes     the Python client

Each page is what the code says of itself: whoever changes a docstring, a description or a default changes the page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from writing import classes, commands, language, requests, settings

PAGES: Mapping[str, Callable[[], str]] = {
    "api": requests.page,
    "cli": commands.page,
    "python": classes.page,
    "settings": settings.page,
    "spec": language.page,
}


def write_reference(folder: Path) -> None:
    """Write every page into `folder`; one that says what it said before keeps its time, so that it is not built again."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        file, text = folder / f"{name}.md", page()
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
