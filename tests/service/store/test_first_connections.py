"""Processes that open a new SQLite file at the same moment, as the service and the dispatcher do at the first start."""

import threading
from pathlib import Path

from sqlalchemy import text

from service.store.db import Database


def test_first_connections_at_the_same_moment_wait_for_one_another(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def connect(url: str, together: threading.Barrier) -> None:
        database = Database(url)
        together.wait()
        try:
            with database.connect() as connection:
                connection.execute(text("CREATE TABLE IF NOT EXISTS t (x INTEGER)"))
        except Exception as error:
            errors.append(error)
        database.dispose()

    for attempt in range(60):  # without the wait, about one file in fifteen fails
        together = threading.Barrier(6)
        url = f"sqlite:///{tmp_path / f'{attempt}.db'}"
        threads = [threading.Thread(target=connect, args=(url, together)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []
