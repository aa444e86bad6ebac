"""Identity: scopes and lifetimes of tokens, the audit log, sweeps that are edited together."""

from __future__ import annotations

from contextlib import AbstractContextManager

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _altered(table: str) -> AbstractContextManager[BatchOperations]:
    """SQLite cannot alter everything, and writes additions in another form than a new table has: it makes the table anew."""
    return op.batch_alter_table(table, recreate="always" if op.get_bind().dialect.name == "sqlite" else "never")


def upgrade() -> None:
    """Add the columns and make the tables. Tokens that are there go on as before: to the full of their user's role, for good."""
    with _altered("users") as users:
        users.add_column(sa.Column("max_queued", sa.Integer(), nullable=True))
        users.add_column(sa.Column("disabled_at", _TIME, nullable=True))
    with _altered("tokens") as tokens:
        tokens.add_column(sa.Column("scope", sa.String(length=16), nullable=True))
        tokens.add_column(sa.Column("expires_at", _TIME, nullable=True))
        tokens.add_column(sa.Column("last_used_at", _TIME, nullable=True))
    op.execute("UPDATE tokens SET scope = 'write'")
    op.execute("UPDATE tokens SET scope = 'admin' WHERE user_id IN (SELECT id FROM users WHERE role = 'admin')")
    with _altered("tokens") as tokens:
        tokens.alter_column("scope", existing_type=sa.String(length=16), nullable=False)
    op.create_table(
        "sweep_editors",
        sa.Column("sweep_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweeps.id"], name="fk_sweep_editors_sweep_id_sweeps"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sweep_editors_user_id_users"),
        sa.PrimaryKeyConstraint("sweep_id", "user_id", name="pk_sweep_editors"),
    )
    op.create_table(
        "audit_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("token_id", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target_kind", sa.String(length=16), nullable=False),
        sa.Column("target_id", sa.String(length=200), nullable=False),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("before", _JSON, nullable=True),
        sa.Column("after", _JSON, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
    )
    for column in ("user_id", "target_id", "action"):
        op.create_index(f"ix_audit_entries_{column}_id", "audit_entries", [column, "id"])


def downgrade() -> None:
    """Take everything back. What would be allowed more than now is revoked, since 0003 knows no ends, scopes or viewers.

    That is every token that ends, is narrower than its user's role, or belongs to a viewer or to who is disabled.
    """
    op.execute(
        """UPDATE tokens SET revoked_at = CURRENT_TIMESTAMP WHERE revoked_at IS NULL AND (
            expires_at IS NOT NULL OR scope = 'read'
            OR user_id IN (SELECT id FROM users WHERE role = 'viewer' OR disabled_at IS NOT NULL)
            OR (scope <> 'admin' AND user_id IN (SELECT id FROM users WHERE role = 'admin')))"""
    )
    op.drop_table("audit_entries")
    op.drop_table("sweep_editors")
    with _altered("tokens") as tokens:
        for column in ("last_used_at", "expires_at", "scope"):
            tokens.drop_column(column)
    with _altered("users") as users:
        for column in ("disabled_at", "max_queued"):
            users.drop_column(column)
