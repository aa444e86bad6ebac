"""The rule itself: the lesser of role and scope, and whose a thing is."""

from __future__ import annotations

from itertools import product
from typing import get_args
from uuid import UUID

import pytest

from prolu.client.wire import Role, Scope
from service.domain.access import (
    Need,
    Owned,
    Principal,
    is_wider,
    need_of,
    require,
    require_change,
    widest,
)
from service.domain.errors import Forbidden, InsufficientScope

ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)
ME, OTHER, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)


def asking(role: Role, scope: Scope) -> Principal:
    return Principal(ME, "ada", role, scope, UUID(int=9), operation="drain_node")


def allowed(role: Role, scope: Scope, need: Need) -> bool:
    try:
        require(asking(role, scope), need)
    except Forbidden:
        return False
    return True


def test_the_lesser_of_role_and_scope_counts() -> None:
    found = {(role, scope) for role, scope in product(ROLES, SCOPES) if allowed(role, scope, "write")}
    assert found == {("member", "write"), ("member", "admin"), ("admin", "write"), ("admin", "admin")}
    assert [pair for pair in product(ROLES, SCOPES) if allowed(*pair, "admin")] == [("admin", "admin")]
    assert all(allowed(role, scope, "read") for role, scope in product(ROLES, SCOPES))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(Forbidden, match="drain_node needs the role admin, and ada is a member") as role:
        require(asking("member", "admin"), "admin")
    assert role.value.code == "forbidden"
    with pytest.raises(InsufficientScope, match="needs a token of the scope admin, and this one has write") as scope:
        require(asking("admin", "write"), "admin")
    assert (scope.value.code, scope.value.scope) == ("insufficient_scope", "admin")


@pytest.mark.parametrize(
    ("thing", "by_owner_alone", "may"),
    [
        (Owned("Run 1", ME), True, True),
        (Owned("Run 1", OTHER), False, False),
        (Owned("Run 1", OTHER, {ME}), False, True),
        (Owned("Run 1", OTHER, {THIRD}), False, False),
        (Owned("Sweep 1", OTHER, {ME}), True, False),
    ],
)
def test_a_member_changes_their_own_and_what_is_shared_with_them(thing: Owned, by_owner_alone: bool, may: bool) -> None:
    if may:
        require_change(asking("member", "write"), thing, "cancel", by_owner_alone=by_owner_alone)
    else:
        with pytest.raises(Forbidden, match="1 belongs to somebody else; ask its owner"):
            require_change(asking("member", "write"), thing, "cancel", by_owner_alone=by_owner_alone)
    require_change(asking("admin", "admin"), thing, "cancel", by_owner_alone=by_owner_alone)
    for role, scope in (("viewer", "admin"), ("member", "read")):
        with pytest.raises(Forbidden):
            require_change(asking(role, scope), thing, "cancel", by_owner_alone=by_owner_alone)  # type: ignore[arg-type]


def test_an_administrator_whose_token_is_for_less_hears_that_it_is_the_token() -> None:
    with pytest.raises(InsufficientScope, match="it takes a token of the scope admin; this one has write"):
        require_change(asking("admin", "write"), Owned("Run 1", OTHER), "cancel")


def test_what_has_no_rule_asks_for_the_right_to_write_unless_it_only_reads() -> None:
    assert need_of("brew_coffee", "POST") == need_of("brew_coffee", "DELETE") == "write"
    assert need_of("brew_coffee", "GET") == "read"


def test_no_scope_is_of_use_beyond_the_role() -> None:
    assert [widest(role) for role in ("viewer", "member", "admin")] == ["read", "write", "admin"]
    assert is_wider("write", "read")
    assert not is_wider("write", "write")
