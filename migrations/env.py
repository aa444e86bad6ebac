"""How Alembic reaches the database: through the service's connection, or, on the `alembic` command line, by its settings.

Every migration is one transaction on both databases, and two at a time take turns.
"""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import Column, Connection, inspect, text

from service.settings import Settings
from service.store.db import Database
from service.store.models import Base, RunRow
from service.store.models.findings import FINDINGS, unwatch, watch

# Any number that no other program takes for its own lock in this database.
_LOCK = 7_105_401_832


# SQLite does not tell Alembic that an index descends; a test compares the text of every statement there.
_DESCENDING = {
    index.name
    for table in Base.metadata.tables.values()
    for index in table.indexes
    if not all(isinstance(expression, Column) for expression in index.expressions)
}


def _is_comparable(_: Any, name: str | None, kind: str, *__: Any) -> bool:
    return kind != "index" or name not in _DESCENDING


def migrate(connection: Connection) -> None:
    """Run the migrations that the command asks for within the connection's transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        include_object=_is_comparable if connection.dialect.name == "sqlite" else None,
    )
    with context.begin_transaction():
        unwatch(connection)  # or no table that is watched could be made anew, and no column of it dropped
        context.run_migrations()
        if _has_findings(connection):
            watch(connection)


def _has_findings(connection: Connection) -> bool:
    """Whether the table and what it copies are there as the models have them, which they are not at every older revision."""
    found = inspect(connection)
    if not found.has_table(FINDINGS.name):
        return False
    copied = {FINDINGS.name: FINDINGS, RunRow.__tablename__: RunRow.__table__}
    return all(
        {column["name"] for column in found.get_columns(name)} == set(table.columns.keys())
        for name, table in copied.items()
    )


if context.is_offline_mode():
    raise SystemExit("Migrations read the database; run them online.")
given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    database = Database(Settings().database_url)
    with database.connect() as opened:
        migrate(opened)
    database.dispose()
