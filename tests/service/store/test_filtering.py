"""Filters and orders mean on SQLite and on PostgreSQL what they mean in plain Python, whatever runs there are."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, update

from prolu.client.wire import RunState
from service.domain import tiers
from service.domain.errors import InvalidCursor
from service.domain.filters import (
    And,
    Column,
    Comparison,
    Condition,
    Key,
    Match,
    Membership,
    Not,
    Or,
    Presence,
    columns,
    parse,
    parse_order,
)
from service.domain.filters.columns import METRICS
from service.store import positions, querying
from service.store.db import Database
from service.store.models import BiasSnapshotRow, RunRow
from service.store.querying import Question
from service.store.stopping import Stop, Stopped
from service.store.users import ensure_user
from tests.service.store import naive_filters as naive
from tests.service.store.operations import claim, say, submit
from tests.service.store.specs import run_spec, snapshot

_NUMBERS = [0.0, -0.0, 5e-324, 1.7976931348623157e308, -1e-5, 0.1 + 0.2, 0.3, 1e22, 50.0, 2.0**53 + 2]
_TEXTS = ["", "gpt", "GPT-2", "É", "é", "a%b", "a_b", "a\\b", "'; --", "\u65e5\u672c", "Z", "z", "\U0001f600"]
_SPECS: list[dict[str, Any]] = [
    {},
    {"sae": {"kind": "topk", "d_sae": 32, "k": 4}, "sparsity": {"kind": "none"}},
    {"sae": {"kind": "relu", "d_sae": 16, "gradient": "ste"}},
    {"sae": {"kind": "matryoshka_batch_topk", "d_sae": 32, "k": 4, "prefixes": [8, 32]}, "sparsity": {"kind": "none"}},
    {"sparsity": {"kind": "l1", "coefficient": 1e-5, "controller": {"target_l0": 0.3}}},
    {"training": {"steps": 7, "seed": 2**63 - 1, "compile": True}, "exports": ["sae_lens"]},
    {"data": {"kind": "synthetic", "noise_std": 0.30000000000000004}, "exports": ["sae_lens", "dictionary_learning"]},
]
_START = datetime(2026, 1, 1, tzinfo=UTC)


def _made_up(chance: random.Random, owners: dict[str, UUID]) -> dict[str, Any]:
    """A row of `runs`; its bias stands by."""
    spec = run_spec(**chance.choice(_SPECS)).model_dump(mode="json")
    metrics = {name: chance.choice(_NUMBERS) for name in METRICS if chance.random() < 0.5}
    return {
        "id": UUID(int=chance.getrandbits(128)),
        "owner_id": chance.choice([*owners.values()]),
        "variant": chance.choice([None, *_TEXTS]),
        "set": chance.choice(
            [{}, {"sparsity.coefficient": 1}, {"sparsity.coefficient": 0.3, "sae.k": None}, {"sae": {"kind": "relu"}}]
        ),
        "name": chance.choice(_TEXTS),
        "digest": "d" * 64,
        "data_digest": "d" * 64,
        "spec": spec if chance.random() < 0.95 else {},
        "cpus": 1,
        "gpus": 0.0,
        "memory_gb": 1.0,
        "total_steps": 7,
        "state": chance.choice(["queued", "failed", "succeeded"]),
        "desired_state": "running",
        "tier": chance.choice([-1, 0, 1]),
        "priority": chance.choice([0, 50]),
        "preemptible": chance.random() < 0.5,
        "waiting_since": _START,
        "queued_at": _START,
        "epoch": 1,
        "step": chance.choice([0, 2**40]),
        "done": 0,
        "total": 0,
        "tags": chance.choice([[], ["gpt"], ["baseline", "É"]]),
        "note": chance.choice([None, "a note"]),
        "failure_class": chance.choice([None, "nan_loss"]),
        "metrics": chance.choice([None, metrics, metrics]),
        "created_at": _START + timedelta(microseconds=chance.choice([0, 1, 10**9])),
        "started_at": chance.choice([None, _START]),
    }


def _as_plain(row: dict[str, Any], owners: dict[str, UUID]) -> naive.Run:
    names = {owner: name for name, owner in owners.items()}
    unset = dict.fromkeys(("sweep_id", "point", "finished_at", "reused_from", "stopped_early"))
    flags = {"superseded": False, "pinned": False, "archived": False}
    return {**unset, **flags, **row, "bias": {}, "owner": names[row["owner_id"]], "tier": tiers.NAMES[row["tier"]]}


@pytest.fixture
def runs(database: Database) -> list[naive.Run]:
    """Runs of every kind, as plain data; they are in the database too."""
    chance = random.Random(5)  # noqa: S311 no secret
    with database.begin() as session:
        owners = {name: ensure_user(session, name) for name in ("ada", "Grace", "\u65e5\u672c")}
        rows = [_made_up(chance, owners) for _ in range(40)]
        session.execute(insert(RunRow), rows)
    return [_as_plain(row, owners) for row in rows]


_ASKED = [
    column
    for name, column in columns().items()
    if not name.startswith(("spec.", "set."))
    or name.endswith(("kind", ".k", "coefficient", "target_l0", "seed", "exports", "compile"))
] + [
    columns()[name]
    for name in ("spec.sae", "spec.sparsity.controller", "spec.sae.prefixes", "spec.data.noise_std", "set.sae")
]


def _values(column: Column) -> st.SearchStrategy[Any]:
    known: dict[str, list[Any]] = {
        "text": [*column.choices] or _TEXTS,
        "integer": [0, 4, 7, 50, 2**40, 2**63 - 1, -(2**63)],
        "number": [*_NUMBERS, 1.0, 1e-5],
        "boolean": [True, False],
        "time": [
            _START,
            _START + timedelta(microseconds=1),
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, tzinfo=UTC),
        ],
        "identity": [UUID(int=0), UUID(int=2**127), UUID(int=2**128 - 1)],
    }
    return st.sampled_from(known[column.kind])


@st.composite
def _leaves(draw: st.DrawFn) -> Condition:
    column = draw(st.sampled_from(_ASKED))
    if column.kind == "texts":
        return draw(
            st.sampled_from(
                [Presence(column, 0), *(Match(column, text, 0) for text in (*column.choices, "gpt", "\u00c9"))]
            )
        )
    if not column.is_single or draw(st.integers(0, 9)) == 0:
        return Presence(column, 0)
    if column.kind == "text" and draw(st.integers(0, 3)) == 0:
        return Match(column, draw(st.sampled_from([*_TEXTS, "p", "%", "_"])), 0)
    if draw(st.integers(0, 3)) == 0:
        return Membership(column, tuple(draw(st.lists(_values(column), min_size=1, max_size=3))), 0)
    ordered = column.kind in ("integer", "number", "time", "text") and not column.choices
    return Comparison(
        column,
        draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">="] if ordered else ["=", "!="])),
        draw(_values(column)),
        0,
    )


_CONDITIONS = st.recursive(
    _leaves(),
    lambda inner: st.one_of(
        st.builds(lambda term: Not(term, 0), inner),
        st.builds(lambda terms: And(tuple(terms), 0), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda terms: Or(tuple(terms), 0), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=6,
)
_KEYS = st.lists(
    st.builds(Key, st.sampled_from([column for column in _ASKED if column.is_single]), st.booleans()),
    max_size=3,
    unique_by=lambda key: key.column.name,
).map(tuple)
_QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _all(database: Database, question: Question, *, limit: int = 7) -> list[UUID]:
    """Page after page."""
    found: list[UUID] = []
    cursor = None
    with database.read() as session:
        while True:
            picked = querying.pick(session, question, limit=limit, cursor=cursor)
            found += picked.ids
            cursor = picked.next_cursor
            if cursor is None:
                return found


def test_every_filter_lists_the_runs_that_it_lists_in_plain_python(database: Database, runs: list[naive.Run]) -> None:
    @_QUICK
    @given(_CONDITIONS)
    def compare(condition: Condition) -> None:
        found = _all(database, Question(condition, (), "q"), limit=100)
        assert found == [run["id"] for run in naive.ordered(runs, ()) if naive.holds(condition, run)]

    compare()


def test_every_order_is_that_of_plain_python_page_by_page(database: Database, runs: list[naive.Run]) -> None:
    @_QUICK
    @given(_KEYS)
    def compare(keys: tuple[Key, ...]) -> None:
        assert _all(database, Question(None, keys, "q")) == [run["id"] for run in naive.ordered(runs, keys)]

    compare()


def test_every_column_is_shown_as_it_was_written(database: Database, runs: list[naive.Run]) -> None:
    shown = [column for column in columns().values() if column.is_single]
    with database.read() as session:
        found = querying.rows_of(session, [run["id"] for run in runs], shown)
    for run, row in zip(runs, found, strict=True):
        assert row == tuple(naive.value_of(run, column) for column in shown)
        assert all(
            isinstance(value, float | None) for value, column in zip(row, shown, strict=True) if column.kind == "number"
        )


def _question(filter_text: str, order: str = "") -> Question:
    return Question(parse(filter_text), parse_order(order), filter_text + order)


def test_what_a_report_says_can_be_asked_for_once_it_is_stored(database: Database, owner_id: UUID) -> None:
    run_id = submit(database, owner_id, name="told")
    claim(database, run_id)
    say(database, run_id, 1, snapshot(0, mean=7.0))
    assert _all(database, _question("bias.mean:*")) == []  # before its first step it has learned nothing
    say(database, run_id, 1, snapshot(10, mean=-0.25), snapshot(20, mean=-0.5), start=2)
    assert _all(database, _question('bias.mean = -0.5 AND state = "running"')) == [run_id]
    with database.begin() as session:
        session.execute(update(BiasSnapshotRow).where(BiasSnapshotRow.step == 10).values(summary={"mean": 3.0}))
    assert _all(database, _question("bias.mean = -0.5")) == [run_id]
    with database.begin() as session:
        session.execute(update(BiasSnapshotRow).where(BiasSnapshotRow.step == 20).values(summary={"mean": 3.0}))
        state: RunState = "succeeded"
        session.execute(update(RunRow).values(metrics={"l0": 3.5}, state=state, name="new"))
    assert _all(database, _question('bias.mean = 3 AND metrics.l0 = 3.5 AND name = "new" AND state = "succeeded"')) == [
        run_id
    ]


def test_a_run_that_refers_to_a_finished_one_has_its_biases(database: Database, owner_id: UUID) -> None:
    source = submit(database, owner_id)
    claim(database, source)
    say(database, source, 1, snapshot(20, mean=-0.5))
    with database.begin() as session:
        row = session.execute(select(RunRow.__table__).where(RunRow.id == source)).one()._asdict()
        referring = UUID(int=7)
        session.execute(insert(RunRow), [{**row, "id": referring, "reused_from": source}])
    assert set(_all(database, _question("bias.mean = -0.5"))) == {source, referring}


def test_a_cursor_that_is_not_of_this_question_is_refused(database: Database, runs: list[naive.Run]) -> None:
    question = _question("metrics.l0 >= 0", "name, created_at desc, metrics.l0")
    with database.read() as session:
        cursor = str(querying.pick(session, question, limit=3, cursor=None).next_cursor)
        others = [
            _question("metrics.l0 > 0", "name, created_at desc, metrics.l0"),
            _question("metrics.l0 >= 0", "name"),
        ]
        for other in others:
            with pytest.raises(InvalidCursor):
                querying.pick(session, other, limit=3, cursor=cursor)
        for wrong in ("", "x", "\u00e9", cursor[:-3], cursor[4:], "W10", "bnVsbA", "A" * 20_000, "W1tb" * 2_000):
            with pytest.raises(InvalidCursor):
                querying.pick(session, question, limit=3, cursor=wrong)


@given(
    st.lists(
        st.one_of(st.none(), st.floats(), st.text(max_size=4), st.integers(), st.booleans()), min_size=3, max_size=3
    )
)
def test_a_made_up_position_is_one_of_the_right_types_or_is_refused(values: list[Any]) -> None:
    keys = parse_order("metrics.l0, name, created_at")
    try:
        position = positions.decode("q", keys, positions.encode("q", [*values, UUID(int=1)]))
    except InvalidCursor:
        return
    for found, types in zip(position, (float, str, datetime, UUID), strict=True):
        assert found is None or isinstance(found, types)


def test_batches_end_when_they_are_told_to(database: Database, runs: list[naive.Run]) -> None:
    stop = Stop()
    rows = querying.batches(database, _question(""), [columns()["id"]], limit=None, cursor=None, stop=stop)
    assert len(next(rows)) == len(runs)
    stop.now()
    with pytest.raises(Stopped):
        list(querying.batches(database, _question(""), [columns()["id"]], limit=None, cursor=None, stop=stop))
