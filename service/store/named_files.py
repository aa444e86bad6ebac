"""The files and folders that a spec names, held to the operator's data roots; symlinks are followed before that.

Nothing outside the roots is looked at, and no sentence tells whether it exists there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prolu.spec import JsonlCorpus, Mistake, ParquetCorpus, ShardsData, TextCorpus
from prolu.spec.urls import is_url, parse_url
from service.store.shard_headers import complaint
from service.store.surroundings import Surroundings

_SUFFIXES: dict[type, frozenset[str]] = {
    TextCorpus: frozenset({".txt", ".md"}),
    JsonlCorpus: frozenset({".jsonl"}),
    ParquetCorpus: frozenset({".parquet"}),
    ShardsData: frozenset({".safetensors", ".npy", ".parquet"}),
}


def check_shards(data: ShardsData, where: Surroundings) -> list[Mistake]:
    """Of a URL, see that it may be read; what lies there is for the workers to say, who hold the store's keys."""
    place = ("data", "path")
    if not is_url(data.path):
        found = files_of(data, data.path, place, where)
        wrong = complaint(found, eval_samples=data.eval_samples) if isinstance(found, list) else None
        return listed(found) if wrong is None else [Mistake(place, f"data.path {wrong}")]
    try:
        url = parse_url(data.path)
    except ValueError as error:
        return [Mistake(place, f"data.path is {error}.")]
    return [] if any(url.is_below(root) for root in where.url_roots) else [outside(data.path, place, where)]


def files_of(spec: object, location: str, place: tuple[str, ...], where: Surroundings) -> list[Path] | Mistake:
    """Hold a file or folder to the data roots, and return the files that fit `spec`, of which one is not empty.

    As for the workers, what begins with a dot below the folder does not count.
    """
    found = resolve(location, where.data_roots)
    if found is None:
        return not_below_a_root(location, place, where)
    field = ".".join(place)
    suffixes = _SUFFIXES[type(spec)]
    wanted = " or ".join(sorted(suffixes))
    if found.is_file():
        files = [found]
    else:
        files = [
            path
            for path in found.rglob("*")
            if path.suffix in suffixes and not _is_hidden(path.relative_to(found)) and path.is_file()
        ]
        if not files:
            return Mistake(
                place, f"{field} is {location!r}, a folder without any {wanted} file; name another or fill it."
            )
    if any(not is_inside(path.resolve(), where.data_roots) for path in files):
        return outside(location, place, where)
    if all(path.stat().st_size == 0 for path in files):
        return Mistake(place, f"{field} is {location!r}, which is empty; name another or fill it.")
    return files


def listed(found: list[Path] | Mistake) -> list[Mistake]:
    return [found] if isinstance(found, Mistake) else []


def resolve(location: str, roots: Sequence[Path]) -> Path | None:
    """The existing file or folder below a root that a location means; relative ones are tried below each root in turn."""
    for path in _candidates(location, roots):
        try:
            if is_inside(path, roots) and path.exists():
                return path
        except OSError:
            continue  # a name too long for the file system, a folder that may not be read
    return None


def not_below_a_root(location: str, place: tuple[str, ...], where: Surroundings) -> Mistake:
    """Nothing outside the roots is looked at, so the sentence is the same whether or not it exists there."""
    if is_url(location):
        sentence = (
            f"{'.'.join(place)} is a URL, but only shards are read from object stores; copy it below a data root."
        )
        return Mistake(place, sentence)
    candidates = _candidates(location, where.data_roots)
    if candidates and not any(is_inside(path, where.data_roots) for path in candidates):
        return outside(location, place, where)
    sentence = f"{'.'.join(place)} is {location!r}, which does not exist below the data roots ({_named(where)}); check the path."
    return Mistake(place, sentence)


def outside(location: str, place: tuple[str, ...], where: Surroundings) -> Mistake:
    sentence = (
        f"{'.'.join(place)} is {location!r}, which leads outside the data roots of this service ({_named(where)}); "
        "move the data below one of them or ask the operator to add a root."
    )
    return Mistake(place, sentence)


def is_inside(path: Path, roots: Sequence[Path]) -> bool:
    return any(path.is_relative_to(root.resolve()) for root in roots)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _candidates(location: str, roots: Sequence[Path]) -> list[Path]:
    found = []
    for root in roots:
        try:
            found.append((root / location).resolve())
        except (OSError, RuntimeError):
            continue  # links in a circle
    return found


def _named(where: Surroundings) -> str:
    return ", ".join(str(root) for root in (*where.data_roots, *where.url_roots)) or "none is configured"
