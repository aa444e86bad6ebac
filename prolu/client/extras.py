"""Packages of the project's extras: none belongs to the light client, and each is imported when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from prolu.client.records import MissingPackage


def needed(module: str, extra: str) -> Any:
    """Import a module of an optional package. Raises MissingPackage, which says how to install it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        raise MissingPackage(
            f'This needs the package {package}, which is not installed; run pip install "prolu[{extra}]".'
        ) from None
