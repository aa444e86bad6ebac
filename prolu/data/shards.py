"""Open activations that already lie in files, here or in an object store: `.safetensors`, `.npy` or `.parquet`.

Arrays that lie in local files are memory-mapped in place. Parquet files, and files of an object store, are first copied into
the cache as arrays, once. Shapes, types and every value are checked on opening, the values once for each content of a file:
those of a Parquet file when it is copied, all others by `prolu.data.finite`. The hashes that come of it identify the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prolu.data.fingerprint import fingerprints
from prolu.data.finite import look_through
from prolu.data.places import DataError, Places
from prolu.data.rms import fit_normaliser
from prolu.data.rows import Part, Rows
from prolu.data.shard_cache import ShardCache, Sink
from prolu.data.shard_files import map_shard
from prolu.data.source import Notify, ShouldStop
from prolu.data.stored import StoredSource
from prolu.spec.base import digest_of
from prolu.spec.data import ShardsData
from prolu.spec.urls import is_url

_SUFFIXES = frozenset({".npy", ".parquet", ".safetensors"})
# Changes when the same original would give another copy.
_FORMAT = 1


_Shard = tuple[Path, Part]
"""The file that is mapped, be it the original or its copy, and its array under the original's name."""


def open_shards(spec: ShardsData, places: Places, *, notify: Notify, should_stop: ShouldStop) -> StoredSource:
    """Open the shards below `spec.path` in name order; the last `eval_samples` rows are held out.

    `notify` hears how many bytes of the originals have been copied, then how many have been looked at. Raises DataError that
    names the file if one is not what it should be, and the row of a value that is not finite, or the path if there are too few
    rows; StorageError if an object store fails; Interrupted if asked to stop.
    """
    opened = _remote_shards if is_url(spec.path) else _local_shards
    shards = opened(spec, places, notify, should_stop)
    parts = [part for _, part in shards]
    _check_widths(parts)
    rows = Rows(parts)
    train = len(rows) - spec.eval_samples
    if train < 1:
        raise DataError(
            f"data.path is {spec.path!r} with {len(rows)} rows, but data.eval_samples holds out {spec.eval_samples}; "
            "lower data.eval_samples or add shards."
        )
    hashes = _hashes(shards, places, notify, should_stop)
    training = rows.slice(0, train)
    return StoredSource(
        training,
        rows.slice(train, len(rows)),
        identity=f"{len(rows)} rows in {len(shards)} files, sha256 {digest_of(hashes)[:16]}",
        seed=spec.seed,
        normaliser=fit_normaliser(spec.normalisation, training),
    )


def _local_shards(spec: ShardsData, places: Places, notify: Notify, should_stop: ShouldStop) -> list[_Shard]:
    files = places.files(spec.path, _SUFFIXES, field="data.path")
    total = sum(path.stat().st_size for path in files if path.suffix == ".parquet")
    cache = ShardCache(places.cache_dir, total_bytes=total, notify=notify, should_stop=should_stop)

    def shard(path: Path) -> _Shard:
        mapped = _array_of_parquet(path, cache) if path.suffix == ".parquet" else path
        return mapped, Part(path.name, map_shard(mapped, path.name))

    return [shard(path) for path in files]


def _array_of_parquet(path: Path, cache: ShardCache) -> Path:
    from prolu.data.parquet_shards import convert  # pyarrow takes a while to load, and other shards do without it

    state = path.stat()
    # The change time is the kernel's, which no program can set back.
    version = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
    origin = {"format": _FORMAT, "path": str(path), "version": version}
    size = state.st_size
    return cache.copy(origin, ".npy", size=size, fill=lambda sink: convert(path, path.name, size=size, sink=sink))


def _remote_shards(spec: ShardsData, places: Places, notify: Notify, should_stop: ShouldStop) -> list[_Shard]:
    from prolu.data.object_store import ObjectPrefix, RemoteFile  # so do the clients of object stores

    url = places.resolve_url(spec.path, field="data.path")
    prefix = ObjectPrefix(url, field="data.path")
    files = prefix.files(_SUFFIXES)
    total = sum(file.size for file in files)
    cache = ShardCache(places.cache_dir, total_bytes=total, notify=notify, should_stop=should_stop)

    def fetch(file: RemoteFile, sink: Sink) -> None:
        read = 0
        for piece in prefix.pieces(file):
            read += len(piece)
            sink.write(piece, read=read)

    def fetch_parquet(file: RemoteFile, sink: Sink) -> None:
        from prolu.data.parquet_shards import convert

        with prefix.opened(file) as handle:
            convert(handle, file.name, size=file.size, sink=sink)

    def shard(file: RemoteFile) -> _Shard:
        origin = {
            "format": _FORMAT,
            "url": f"{url.scheme}://{file.path}",
            "version": [file.size, file.version],
        }
        is_parquet = file.suffix == ".parquet"
        copy = cache.copy(
            origin,
            ".npy" if is_parquet else file.suffix,
            size=file.size,
            fill=lambda sink: (fetch_parquet if is_parquet else fetch)(file, sink),
        )
        return copy, Part(file.name, map_shard(copy, file.name))

    return [shard(file) for file in files]


def _hashes(shards: Sequence[_Shard], places: Places, notify: Notify, should_stop: ShouldStop) -> list[str]:
    """Look through every array, and return what identifies each, in order. Names do not count: they only give the order."""
    unseen = [(path, part) for path, part in shards if not part.name.endswith(".parquet")]
    seen = look_through(unseen, cache_dir=places.cache_dir, notify=notify, should_stop=should_stop)
    found = dict(zip([path for path, _ in unseen], seen, strict=True))
    # The array made of a Parquet file was looked through and hashed when it was made.
    return [found.get(path) or fingerprints([path], cache_dir=places.cache_dir)[0] for path, _ in shards]


def _check_widths(arrays: Sequence[Part]) -> None:
    first = arrays[0]
    for part in arrays[1:]:
        if part.array.shape[1] != first.array.shape[1]:
            raise DataError(
                f"data.path holds {first.name} of width {first.array.shape[1]} and {part.name} of width "
                f"{part.array.shape[1]}; all shards must have one d_in."
            )
