"""Write an autoencoder in other libraries' layouts: beside a checkpoint while it is written, or from one that lies somewhere."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError

from prolu.export.dictionary_learning import write_dictionary_learning
from prolu.export.exportable import Exportable, exportable
from prolu.export.report import ExportError, ExportReport
from prolu.export.sae_lens import write_sae_lens
from prolu.models.artifacts import ArtifactFolder
from prolu.models.sae import Sae
from prolu.models.saved import CheckpointConfig, load_sae, read_config
from prolu.spec.run import ExportFormat


def write_exports(sae: Sae, config: CheckpointConfig, folder: Path, formats: Sequence[ExportFormat]) -> list[str]:
    """Write each format into a folder of its own below `folder`; return the files' names, such as `sae_lens/cfg.json`.

    Raises ExportError if the autoencoder cannot be exported, OSError or SafetensorError if writing fails.
    """
    given = exportable(sae, config)
    names = []
    for layout in dict.fromkeys(formats):
        target = folder / layout
        target.mkdir()
        names += [f"{layout}/{name}" for name in _write(given, layout, target).files]
    return names


def export_checkpoint(folder: str, layout: ExportFormat, destination: Path) -> ExportReport:
    """Write the checkpoint in `folder` (a path or an fsspec URL) into `destination`, which appears whole or not at all.

    Raises CheckpointError for files that are missing or wrong, StorageError if the store fails, ExportError if the
    autoencoder cannot be exported or `destination` has something in it or cannot be written.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise ExportError(f"{destination} exists already; name a new or an empty folder.")
    sae = load_sae(folder)
    given = exportable(sae, read_config(ArtifactFolder(folder.removesuffix("/")), None))
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{destination.name}-", dir=destination.parent))
        try:
            report = _write(given, layout, draft)
            for name in report.files:  # safetensors writes for the owner alone
                (draft / name).chmod(0o644)
            draft.chmod(0o755)
            draft.replace(destination)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        raise ExportError(f"Writing the export to {destination} failed: {error}.") from error
    return report


def _write(given: Exportable, layout: ExportFormat, folder: Path) -> ExportReport:
    match layout:
        case "sae_lens":
            return write_sae_lens(given, folder)
        case "dictionary_learning":
            return write_dictionary_learning(given, folder)
