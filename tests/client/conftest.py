"""Clients that speak to the real app."""

from collections.abc import Iterator

import pytest

from prolu.client import Client
from tests.client.desk import Desk, Running, running_service


@pytest.fixture(scope="session")
def long_running_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One service for all tests of the client; ask for `service`, which is empty."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def service(long_running_service: Running) -> Running:
    """The service, without a run or a sweep in it."""
    long_running_service.desk.clear()
    return long_running_service


@pytest.fixture
def desk(service: Running) -> Desk:
    return service.desk


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    with Client(service.url, service.token) as client:
        yield client
