"""Open activations that already lie in files, here or in an object store: `.safetensors`, `.npy` or `.parquet`.

Arrays that lie in local files are memory-mapped in place. Parquet files, and files of an object store, are first copied into
the cache as arrays, once. Shapes, types and up to 64 rows of each array are checked on opening; every row of a Parquet file
when it is copied, and any row when it is read, for NaN and infinity.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prolu.data.places import DataError, Places
from prolu.data.rms import fit_normaliser
from prolu.data.rows import Part, Rows
from prolu.data.shard_cache import ShardCache, Sink
from prolu.data.shard_files import map_shard
from prolu.data.source import Notify, ShouldStop
from prolu.data.stored import StoredSource
from prolu.spec.data import ShardsData
from prolu.spec.urls import is_url

_SUFFIXES = frozenset({".npy", ".parquet", ".safetensors"})
_SAMPLED_ROWS = 64
# Changes when the same original would give another copy.
_FORMAT = 1


def open_shards(spec: ShardsData, places: Places, *, notify: Notify, should_stop: ShouldStop) -> StoredSource:
    """Open the shards below `spec.path` in name order; the last `eval_samples` rows are held out.

    `notify` hears how many bytes of the originals have been copied. Raises DataError that names the file if one is not what
    it should be, or the path if there are too few rows; StorageError if an object store fails; Interrupted if asked to stop.
    """
    opened = _remote_parts if is_url(spec.path) else _local_parts
    parts = opened(spec, places, notify, should_stop)
    _check_widths(parts)
    for part in parts:
        sampled = np.linspace(0, len(part.array) - 1, _SAMPLED_ROWS).astype(np.int64)
        Rows([part]).gather(np.unique(sampled))
    rows = Rows(parts)
    train = len(rows) - spec.eval_samples
    if train < 1:
        raise DataError(
            f"data.path is {spec.path!r} with {len(rows)} rows, but data.eval_samples holds out {spec.eval_samples}; "
            "lower data.eval_samples or add shards."
        )
    training = rows.slice(0, train)
    normaliser = fit_normaliser(spec.normalisation, training)
    return StoredSource(training, rows.slice(train, len(rows)), seed=spec.seed, normaliser=normaliser)


def _local_parts(spec: ShardsData, places: Places, notify: Notify, should_stop: ShouldStop) -> list[Part]:
    files = places.files(spec.path, _SUFFIXES, field="data.path")
    total = sum(path.stat().st_size for path in files if path.suffix == ".parquet")
    cache = ShardCache(places.cache_dir, total_bytes=total, notify=notify, should_stop=should_stop)
    return [
        Part(path.name, map_shard(_array_of_parquet(path, cache) if path.suffix == ".parquet" else path, path.name))
        for path in files
    ]


def _array_of_parquet(path: Path, cache: ShardCache) -> Path:
    from prolu.data.parquet_shards import convert  # pyarrow takes a while to load, and other shards do without it

    state = path.stat()
    # The change time is the kernel's, which no program can set back.
    version = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]
    origin = {"format": _FORMAT, "path": str(path), "version": version}
    size = state.st_size
    return cache.copy(origin, ".npy", size=size, fill=lambda sink: convert(path, path.name, size=size, sink=sink))


def _remote_parts(spec: ShardsData, places: Places, notify: Notify, should_stop: ShouldStop) -> list[Part]:
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

    def part(file: RemoteFile) -> Part:
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
        return Part(file.name, map_shard(copy, file.name))

    return [part(file) for file in files]


def _check_widths(arrays: Sequence[Part]) -> None:
    first = arrays[0]
    for part in arrays[1:]:
        if part.array.shape[1] != first.array.shape[1]:
            raise DataError(
                f"data.path holds {first.name} of width {first.array.shape[1]} and {part.name} of width "
                f"{part.array.shape[1]}; all shards must have one d_in."
            )
