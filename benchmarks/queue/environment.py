"""What the figures were measured on: cores, load, versions, and the settings that durability hangs on."""

from __future__ import annotations

import os
import platform
import sqlite3
from importlib.metadata import version
from typing import Any

import psycopg

from benchmarks.queue.databases import SETTINGS, Databases

_PACKAGES = ("fastapi", "httptools", "procrastinate", "psycopg", "pydantic", "sqlalchemy", "uvicorn", "uvloop")
_DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")


def environment(both: Databases) -> dict[str, Any]:
    """Describe machine, packages and databases."""
    with psycopg.connect(both.empty("postgresql").replace("+psycopg", "")) as connection:
        shown = {
            name: connection.execute(f"SHOW {name}".encode()).fetchone() for name in ("server_version", *_DURABILITY)
        }
    with both.migrated("sqlite") as database, database.look() as connection_to_file:
        synchronous = connection_to_file.exec_driver_sql("PRAGMA synchronous").scalar()
        journal = connection_to_file.exec_driver_sql("PRAGMA journal_mode").scalar()
    return {
        "cores": os.cpu_count(),
        "load_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "postgresql": {name: found[0] for name, found in shown.items() if found} | {"settings": list(SETTINGS)},
        "sqlite": {"version": sqlite3.sqlite_version, "journal_mode": journal, "synchronous": synchronous},
    }
