"""`prolu up` is up only when the dispatcher dispatches."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from prolu.client.up.dispatching import Dispatching
from tests.client.desk import Running

WITHOUT_LOG = ""


@pytest.fixture
def environment(service: Running, tmp_path: Path) -> dict[str, str]:
    """What a client on this machine knows of the service."""
    (tmp_path / "token").write_text(service.token)
    return {"PROLU_DATA_DIR": str(tmp_path)}


def test_a_dispatcher_that_was_never_seen_does_not_dispatch(service: Running, environment: dict[str, str]) -> None:
    assert not Dispatching(service.url, environment, since=datetime.now(UTC))(WITHOUT_LOG)


def test_only_a_sign_of_life_since_the_start_counts(service: Running, environment: dict[str, str]) -> None:
    service.desk.see_nodes()
    moment = datetime.now(UTC)
    assert Dispatching(service.url, environment, since=moment - timedelta(minutes=1))(WITHOUT_LOG)
    assert not Dispatching(service.url, environment, since=moment + timedelta(minutes=1))(WITHOUT_LOG)


def test_the_service_is_asked_no_more_than_twice_a_second(service: Running, environment: dict[str, str]) -> None:
    moment = 100.0
    dispatching = Dispatching(
        service.url, environment, since=datetime.now(UTC) - timedelta(minutes=1), clock=lambda: moment
    )
    assert not dispatching(WITHOUT_LOG)
    service.desk.see_nodes()
    assert not dispatching(WITHOUT_LOG)
    moment += 0.5
    assert dispatching(WITHOUT_LOG)


def test_without_an_answer_or_the_right_token_it_is_not_known_to_dispatch(
    service: Running, environment: dict[str, str], tmp_path: Path
) -> None:
    service.desk.see_nodes()
    since = datetime.now(UTC) - timedelta(minutes=1)
    assert not Dispatching("http://127.0.0.1:9", environment, since=since)(WITHOUT_LOG)
    for content in ("wrong", ""):
        (tmp_path / "token").write_text(content)
        assert not Dispatching(service.url, environment, since=since)(WITHOUT_LOG)
    (tmp_path / "token").unlink()
    assert not Dispatching(service.url, environment, since=since)(WITHOUT_LOG)
