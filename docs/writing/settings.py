"""The page of the operator's settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from service.settings import Settings
from writing.schemas import cell, type_of

_LINK = re.compile(r"\[(\w+)\]\([^)]*\)")

_INTRODUCTION = """# Settings

The service and the dispatcher read these variables of the environment when they start. Where a setting is wrong they end with
status 2 and a sentence that names the variable.

| variable | type | default | meaning |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    schema = Settings.model_json_schema(by_alias=False)
    rows = [_row(name, field, schema["properties"][name]) for name, field in Settings.model_fields.items()]
    return _INTRODUCTION + "\n".join(rows) + "\n"


def _row(name: str, field: FieldInfo, schema: dict[str, Any]) -> str:
    unsaid = field.default_factory is not None or field.default in (None, "", (), Path())
    default = "" if unsaid else f"`{field.default}`"
    kind = _LINK.sub(r"\1", type_of(schema))
    return f"| `PROLU_{name.upper()}` | {cell(kind)} | {default} | {cell(field.description or '')} |"
