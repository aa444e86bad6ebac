"""Lists of runs, and a sweep's table, of those runs that pass a filter, in an order that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from prolu.client.wire import Page, ResultRow, RunState, RunSummary
from service.domain.filters import parse_order
from service.store import lists, sweep_tables
from service.store.models import FINDINGS, UserRow
from service.store.querying import Question, pick


def runs(
    session: Session,
    question: Question,
    *,
    states: Sequence[RunState] = (),
    owner: str | None = None,
    sweep_id: UUID | None = None,
    id_part: str | None = None,
    archived: bool = False,
    limit: int,
    cursor: str | None,
) -> Page[RunSummary]:
    """Runs as lists show them. Raises InvalidCursor."""
    within = []
    if not archived and sweep_id is None:
        within.append(~FINDINGS.c.archived)
    if states:
        within.append(FINDINGS.c.state.in_(states))
    if owner is not None:
        within.append(FINDINGS.c.owner_id.in_(select(UserRow.id).where(UserRow.name == owner)))
    if sweep_id is not None:
        within.append(FINDINGS.c.sweep_id == sweep_id)
    if id_part is not None:
        within.append(lists.has_id(FINDINGS.c.run_id, id_part))
    words = f"{question.words}\n{sorted(states)}\n{owner}\n{sweep_id}\n{id_part}\n{archived}"
    asked = replace(question, within=tuple(within), words=words)
    picked = pick(session, asked, limit=limit, cursor=cursor)
    found = lists.summaries(session, picked.ids)
    return Page(items=[found[run_id] for run_id in picked.ids], next_cursor=picked.next_cursor)


def results(session: Session, sweep_id: UUID, question: Question, *, limit: int, cursor: str | None) -> Page[ResultRow]:
    """One row per run of a sweep; of a point that was tried again, the latest. By point, if no order is asked for.

    Raises NotFound, InvalidCursor.
    """
    lists.require_sweep(session, sweep_id)
    asked = replace(
        question,
        keys=question.keys or parse_order("point"),
        words=f"{question.words}\n{sweep_id}",
        within=(FINDINGS.c.sweep_id == sweep_id, ~FINDINGS.c.superseded),
    )
    picked = pick(session, asked, limit=limit, cursor=cursor)
    found = {row.run_id: row for row in sweep_tables.results_of(session, picked.ids)}
    return Page(items=[found[run_id] for run_id in picked.ids], next_cursor=picked.next_cursor)
