"""Read what to show: paths, or all below one with `metrics.*`."""

from __future__ import annotations

from collections.abc import Sequence

from service.domain.filters.columns import Column, columns, unknown
from service.domain.filters.mistakes import Misread

MAX_COLUMNS = 200
_MAX_FIELDS = 300

# What a table of results shows of a run, unless it is told.
DEFAULT = (
    "id",
    "name",
    "owner",
    "sweep_id",
    "point",
    "variant",
    "state",
    "created_at",
    "finished_at",
    "spec.sae.kind",
    "spec.sae.d_sae",
    "spec.sae.k",
    "spec.sparsity.kind",
    "spec.sparsity.coefficient",
    "spec.training.steps",
    "spec.training.seed",
    "metrics.*",
    "bias.*",
)


def select_columns(fields: Sequence[str] | None) -> tuple[Column, ...]:
    """The columns that `fields` names, each once, in the order of their naming; `DEFAULT` for None. Raises Misread."""
    wanted = DEFAULT if fields is None else fields
    shown = ", ".join(wanted[:_MAX_FIELDS])
    if not wanted:
        raise Misread("fields", shown, 0, "there is none; name some, or leave fields out.")
    found: dict[str, Column] = {}
    at = 0
    for name in wanted[:_MAX_FIELDS]:
        for column in _named(name.strip(), shown, at):
            found[column.name] = column
        at += len(name) + 2
    if len(found) > MAX_COLUMNS or len(wanted) > _MAX_FIELDS:
        raise Misread("fields", shown, 0, f"they are more than {MAX_COLUMNS} columns; name fewer.")
    return tuple(found.values())


def _named(name: str, shown: str, at: int) -> list[Column]:
    if name.endswith(".*"):
        prefix = name.removesuffix("*")
        below = [column for column in columns().values() if column.name.startswith(prefix) and column.is_single]
        if below:
            return below
    column = columns().get(name)
    if column is None:
        raise Misread("fields", shown, at, unknown(name))
    if not column.is_single:
        raise Misread(
            "fields", shown, at, f"{name} is no single value; name what is in it, or {name}.* for all of that."
        )
    return [column]
