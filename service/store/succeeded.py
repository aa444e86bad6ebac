"""A few numbers of many runs: of those that succeeded, each of their points once, by a filter or a sweep.

What is read are a few columns of many runs, so rows of `findings` alone wherever those have the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Text, select, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

from prolu.client.wire import SparsityLevel
from service.domain.errors import Invalid
from service.domain.filters import Column, Condition
from service.store.filtering import RUNS, columns_of, holds, source, value_of
from service.store.models import FINDINGS

# What describes a run wherever it is shown. Its id is left as the driver gives it: to make a UUID of each of 10,000 texts takes
# longer than to read them, and few are shown.
DESCRIBED = (
    type_coerce(FINDINGS.c.run_id, NullType()).label("run_id"),
    FINDINGS.c.name,
    FINDINGS.c.spec_sae_k.label("k"),
    FINDINGS.c.spec_sparsity_controller_target_l0.label("target_l0"),
    FINDINGS.c.spec_sparsity_coefficient.label("coefficient"),
)

# So many ids in one statement; SQLite takes 32,766 values.
_AT_ONCE = 5_000


class repeats(FunctionElement[str]):  # noqa: N801 as SQLAlchemy's own functions are named
    """What of a spec is equal for runs that train alike but for their seed: neither name nor limits change what is trained."""

    type = Text()
    inherit_cache = True


@compiles(repeats, "sqlite")
def _on_sqlite(element: repeats, compiler: Any, **options: Any) -> str:
    spec = compiler.process(next(iter(element.clauses)), **options)
    return f"json_remove({spec}, '$.name', '$.limits', '$.training.seed')"


@compiles(repeats, "postgresql")
def _on_postgresql(element: repeats, compiler: Any, **options: Any) -> str:
    spec = compiler.process(next(iter(element.clauses)), **options)
    return f"md5((({spec}) - 'name' - 'limits' #- '{{training,seed}}')::text)"


def succeeded(
    session: Session,
    columns: Sequence[Column],
    *,
    condition: Condition | None,
    sweep_id: UUID | None,
    most: int,
    repeated: bool = False,
    more: Sequence[ColumnElement[Any]] = (),
) -> Sequence[Row[Any]]:
    """`DESCRIBED` and the `columns` of the chosen runs, oldest first; if `repeated`, also what tells repetitions, and the seed.

    `more` are columns of `findings` that come last.

    Raises Invalid if more than `most` are chosen.
    """
    statement = chosen(columns, condition=condition, sweep_id=sweep_id, repeated=repeated).add_columns(*more)
    rows = session.execute(statement.order_by(FINDINGS.c.run_id).limit(most + 1)).all()
    require_few(len(rows), most)
    return rows


def require_few(found: int, most: int) -> None:
    """Raise Invalid if more runs are chosen than are looked at."""
    if found > most:
        raise Invalid(
            f"The filter finds more than {most:,} runs that succeeded; narrow it, to a sweep or a span of time."
        )


def described(session: Session, run_ids: Sequence[UUID | str]) -> list[Row[Any]]:
    """`DESCRIBED` of the runs, which are named as it names them."""
    column = DESCRIBED[0].element
    chunks = [run_ids[start : start + _AT_ONCE] for start in range(0, len(run_ids), _AT_ONCE)]
    return [row for chunk in chunks for row in session.execute(select(*DESCRIBED).where(column.in_(chunk)))]


def chosen(
    columns: Sequence[Column],
    *,
    condition: Condition | None,
    sweep_id: UUID | None,
    repeated: bool = False,
    told: Sequence[ColumnElement[Any]] = DESCRIBED,
) -> Select[Any]:
    """The same as a statement without an order or an end; it begins with what is `told` of each."""
    repetition = [repeats(RUNS.c.spec), FINDINGS.c.spec_training_seed] if repeated else []
    tables = source([*columns, *columns_of(condition)])
    if repeated and tables is FINDINGS:
        tables = FINDINGS.join(RUNS, RUNS.c.id == FINDINGS.c.run_id)
    values = [value_of(column).label(f"value_{place}") for place, column in enumerate(columns)]
    statement = select(*told, *values, *repetition).select_from(tables)
    statement = statement.where(FINDINGS.c.state == "succeeded", ~FINDINGS.c.superseded)
    if sweep_id is not None:
        statement = statement.where(FINDINGS.c.sweep_id == sweep_id)
    return statement if condition is None else statement.where(holds(condition))


def identity(run_id: UUID | str) -> UUID:
    """The id of a row of `succeeded`."""
    return run_id if isinstance(run_id, UUID) else UUID(run_id)


def level_of(row: Row[Any]) -> SparsityLevel | None:
    """What decides how sparse a run becomes. A controller's target decides over the coefficient that it begins with."""
    if row.k is not None:
        return SparsityLevel(kind="k", value=row.k)
    if row.target_l0 is not None:
        return SparsityLevel(kind="target_l0", value=row.target_l0)
    return None if row.coefficient is None else SparsityLevel(kind="coefficient", value=row.coefficient)
