"""The API as it was agreed on: a change of the contract shows as a change of `openapi.json` beside this file."""

from __future__ import annotations

import difflib
from pathlib import Path

from service.api.openapi import as_text
from tests.fixtures_api import Api

AGREED = Path(__file__).with_name("openapi.json")


def test_the_api_is_the_one_that_was_agreed_on(quick_api: Api) -> None:
    agreed, present = AGREED.read_text(), as_text(quick_api.http.app)  # type: ignore[arg-type]
    if agreed != present:
        lines = difflib.unified_diff(agreed.splitlines(), present.splitlines(), "agreed", "present", n=8, lineterm="")
        changed = "\n".join([*lines][:200])
        raise AssertionError(f"The API has changed; if it should have, run `make openapi` and commit it.\n{changed}")


def test_the_document_does_not_depend_on_the_version_or_the_machine(quick_api: Api) -> None:
    text = as_text(quick_api.http.app)  # type: ignore[arg-type]
    assert '"version": "0"' in text
    assert str(quick_api.settings.data_dir) not in text
