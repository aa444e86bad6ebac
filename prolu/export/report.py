"""What an export holds, and what it does not."""

from __future__ import annotations

from prolu.spec.report import Record
from prolu.spec.run import ExportFormat


class ExportError(Exception):
    """The checkpoint cannot be exported, or not to that place; the sentence says why and what to do."""


class ExportReport(Record):
    """One export."""

    format: ExportFormat
    """Whose layout."""
    architecture: str
    """What that library calls it."""
    files: list[str]
    """Names of the files in the export's folder."""
    positive_biases: int
    """ProLU biases above 0: they act as 0, so the export is exact, but their values are in our own format alone."""
    notes: list[str]
    """What to know before using it, in sentences."""
