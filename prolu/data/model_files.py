"""Find the files of a language model: a package, a folder below a data root, or a repository of the Hugging Face hub.

Only configuration, tokenizer and safetensors weights are taken; never code, never pickle. Loads no weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars
from pydantic import TypeAdapter, ValidationError

from prolu.data.fingerprint import fingerprints
from prolu.data.model_config import ModelShape, check_shape
from prolu.data.packaged_models import PREFIX, convert_package
from prolu.data.places import DataError, Places
from prolu.data.source import ShouldStop
from prolu.spec.data import LanguageModelData
from prolu.spec.text import HubName

_WEIGHTS = "*.safetensors"
_WORDS = ("*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja")
_LONGEST_PATH = 1_024


@dataclass(frozen=True)
class ModelFiles:
    """A language model on this machine's disk."""

    folder: Path
    """Configuration, tokenizer and safetensors weights."""
    identity: dict[str, Any]
    """Plain data that stands for configuration and weights."""
    tokenizer: dict[str, Any]
    """Plain data that stands for the tokenizer."""
    shape: ModelShape
    """Its sizes."""


def find_model(
    spec: LanguageModelData, places: Places, *, waiting: Callable[[], None], should_stop: ShouldStop
) -> ModelFiles:
    """Return the files of `spec.model`, downloaded or converted if need be, once `spec.block` is known to exist.

    A name that exists below a data root means that folder; any other name of the right form means the hub.
    Raises DataError if there is no such model or no such block, Interrupted if asked to stop while another process converts.
    """
    if spec.model.startswith(PREFIX):
        packaged = convert_package(spec.model, places, waiting=waiting, should_stop=should_stop)
        return ModelFiles(
            packaged.folder,
            packaged.identity,
            _hashes(_tokenizer_files(packaged.folder), places),
            check_shape(packaged.folder, spec),
        )
    if places.has(spec.model) or not _is_hub_name(spec.model):
        return _below_a_root(spec, places)
    return _on_the_hub(spec, places)


def _is_hub_name(model: str) -> bool:
    try:
        TypeAdapter(HubName).validate_python(model)
    except ValidationError:
        return False
    return True


def _below_a_root(spec: LanguageModelData, places: Places) -> ModelFiles:
    places.files(spec.model, None, field="data.model")
    folder = places.resolve(spec.model, field="data.model")
    if not (folder / "config.json").is_file():
        raise DataError(
            f"data.model is {spec.model!r}, a folder without config.json; name one that save_pretrained wrote."
        )
    _refuse_what_leads_elsewhere(folder, spec.model)
    shape = check_shape(folder, spec)
    weights = [folder / "config.json", *_weights(folder, spec.model)]
    return ModelFiles(folder, _hashes(weights, places), _hashes(_tokenizer_files(folder), places), shape)


def _on_the_hub(spec: LanguageModelData, places: Places) -> ModelFiles:
    folder = _snapshot(spec, spec.revision, _WORDS, places)
    shape = check_shape(folder, spec)
    commit = folder.name
    _refuse_what_leads_elsewhere(folder, spec.model)
    _snapshot(spec, commit, (*_WORDS, _WEIGHTS), places)
    _weights(folder, spec.model)
    identity = {"hub": spec.model, "commit": commit}
    return ModelFiles(folder, identity, identity, shape)


def _snapshot(spec: LanguageModelData, revision: str | None, patterns: tuple[str, ...], places: Places) -> Path:
    """Return the folder of a commit with the files that match; its name is the commit. OSError if the hub cannot be reached."""
    disable_progress_bars()
    try:
        return Path(
            snapshot_download(
                spec.model, revision=revision, allow_patterns=list(patterns), local_files_only=not places.hub_online
            )
        )
    except RevisionNotFoundError:
        raise DataError(
            f"data.revision is {revision!r}, which {spec.model} does not have on the hub; name a branch, tag or commit."
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise DataError(
            f"data.model is {spec.model!r}, which is neither below a data root nor a repository of the hub that this service "
            "may read; check the name."
        ) from None
    except LocalEntryNotFoundError:
        if places.hub_online:
            raise
        raise DataError(
            f"data.model is {spec.model!r}, which is not on this worker, and this service does not reach the hub; "
            "name a folder below a data root, or ask the operator to allow the hub."
        ) from None


def _weights(folder: Path, model: str) -> list[Path]:
    weights = sorted([*folder.glob(_WEIGHTS), *folder.glob("*.safetensors.index.json")])
    if not weights:
        raise DataError(
            f"data.model is {model!r}, which has no safetensors weights, and other formats can run code; convert it."
        )
    return weights


def _tokenizer_files(folder: Path) -> list[Path]:
    words = [path for pattern in _WORDS for path in folder.glob(pattern)]
    others = ("config.json", "generation_config.json", "model.safetensors.index.json")
    return sorted(path for path in words if path.name not in others and path.suffix != ".jinja")


def _hashes(files: list[Path], places: Places) -> dict[str, Any]:
    return dict(zip([path.name for path in files], fingerprints(files, cache_dir=places.cache_dir), strict=True))


def _refuse_what_leads_elsewhere(folder: Path, model: str) -> None:
    """Raise DataError if a JSON file of the model names a file outside its folder, or an adapter that names another model."""
    if (folder / "adapter_config.json").exists():
        raise DataError(
            f"data.model is {model!r}, which is an adapter of another model; merge the two and name the result."
        )
    for path in sorted(folder.glob("*.json")):
        if path.name in ("tokenizer.json", "vocab.json"):
            continue
        try:
            document = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise DataError(f"data.model is {model!r}, whose {path.name} is not JSON ({error}).") from None
        for text in _strings(document):
            if ("/" in text or "\\" in text) and len(text) <= _LONGEST_PATH and "\0" not in text:
                named = (folder / text).resolve()
                if named.is_file() and not named.is_relative_to(folder.resolve()):
                    raise DataError(f"data.model is {model!r}, whose {path.name} names {text!r}, outside its folder.")


def _strings(document: Any) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from _strings(value)
