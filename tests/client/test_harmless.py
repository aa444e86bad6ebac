"""What would steer a terminal is shown by its escape; what is text stays as it is."""

import io

import pytest
from rich.console import Console

from prolu.client.harmless import harmless
from prolu.client.results import Results
from prolu.client.wire import ResultRow


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\rb\tc\x00", r"a\rb\tc\x00"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("\u202eabc\u2066\u200f", r"\u202eabc\u2066\u200f"),
        ("two\nlines", "two\nlines"),
        ("\xe9t\xe9 \u4e2d \U0001f600 \\x1b", "\xe9t\xe9 \u4e2d \U0001f600 \\x1b"),
    ],
)
def test_control_characters_are_escaped_and_letters_are_not(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_what_a_sweep_set_is_literal_in_the_table_of_its_results() -> None:
    row = {"run_id": "01a206b0-0925-769e-9d4b-a0807451dbb7", "point": 0, "name": "n", "variant": "[red]v[/red]\x1b[2J"}
    more = {"state": "succeeded", "step": 1, "set": {"a.[b]k[/b]": "[red]w[/red]\x9b"}, "metrics": {}, "bias": {}}
    other = {**row, **more, "point": 1, "set": {"a.[b]k[/b]": 2}}
    rows = [ResultRow.model_validate(given) for given in ({**row, **more}, other)]
    console = Console(file=io.StringIO(), width=200)
    console.print(Results(rows).table())
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert r"[red]v[/red]\x1b[2J" in said
    assert r"[red]w[/red]\x9b" in said
    assert "[b]k[/b]" in said
