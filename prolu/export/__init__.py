"""Autoencoders in the layouts of other libraries, and back. Knows no data, no training and no analysis."""

from prolu.export.exports import export_checkpoint, write_exports
from prolu.export.from_sae_lens import ImportedSae, SaeLensError, load_sae_lens
from prolu.export.report import ExportError, ExportReport

__all__ = [
    "ExportError",
    "ExportReport",
    "ImportedSae",
    "SaeLensError",
    "export_checkpoint",
    "load_sae_lens",
    "write_exports",
]
