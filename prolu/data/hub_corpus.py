"""Stream a dataset of the Hugging Face hub, from plain data files alone: no code, no pickle, no file of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import datasets
import pyarrow as pa
from datasets import load_dataset_builder
from datasets.exceptions import DatasetNotFoundError

from prolu.data.places import DataError
from prolu.spec.data import HubCorpus

# What the readers of these formats can do is parse; others (webdataset, folders of media, arrow extensions) decode objects.
_READERS = frozenset({"parquet", "json", "text", "csv"})


def open_hub_dataset(spec: HubCorpus, *, online: bool) -> tuple[dict[str, Any], Callable[[], Iterator[str]]]:
    """Find the dataset and pin its commit; return its identity and a function that begins to stream its documents.

    Raises DataError if the hub is off limits or does not have the dataset, or if its files are not plain data; OSError if
    the hub cannot be reached.
    """
    if not online:
        raise DataError(
            f"data.corpus.dataset is {spec.dataset!r}, but this service does not reach the hub; "
            "use a corpus of files, or ask the operator to allow the hub."
        )
    datasets.disable_progress_bars()
    try:
        builder = load_dataset_builder(spec.dataset, name=spec.config, revision=spec.revision)
    except DatasetNotFoundError as error:
        raise DataError(f"data.corpus.dataset is {spec.dataset!r}, which cannot be had: {error}") from None
    except (ValueError, RuntimeError) as error:  # an unknown configuration; a dataset that is a script
        raise DataError(f"data.corpus.dataset is {spec.dataset!r}, which cannot be read: {error}") from None
    commit = pinned_commit(builder, spec.dataset)
    return spec.model_dump(exclude={"revision"}) | {"commit": commit}, lambda: stream(builder, spec)


def pinned_commit(builder: Any, dataset: str) -> str:
    """Return the commit that every data file of `builder` belongs to.

    Raises DataError if it reads another format than plain data, or a file that is not of this dataset: the card of a
    dataset may name any path, and the name of a local folder may look like that of a dataset.
    """
    reader = type(builder).__module__.split(".")[-1]
    if reader not in _READERS:
        known = ", ".join(sorted(_READERS))
        raise DataError(f"data.corpus.dataset is {dataset!r}, in the format {reader}; only {known} are read.")
    files = [str(file) for group in (builder.config.data_files or {}).values() for file in group]
    start = f"hf://datasets/{dataset}@"
    foreign = [file for file in files if not file.startswith(start) or "/../" in file]
    if foreign or not files:
        got = f"the file {foreign[0]}, which is not its own" if foreign else "no data file on the hub"
        raise DataError(f"data.corpus.dataset is {dataset!r}, which names {got}; choose another dataset.")
    return files[0].removeprefix(start).split("/")[0]


def stream(builder: Any, spec: HubCorpus) -> Iterator[str]:
    """Yield the text of each row in the dataset's order, but for nulls, which JSON lines without the key are here, too.

    Raises DataError if the split or the column does not exist, or where a row is not text that UTF-8 can hold.
    """
    try:
        rows = builder.as_streaming_dataset(split=spec.split)
    except ValueError as error:
        raise DataError(f"data.corpus.split is {spec.split!r}, which cannot be read: {error}") from None
    for row in _decoded(rows, spec.dataset):
        if not isinstance(row.get(spec.field, False), str | None):
            raise DataError(
                f"data.corpus.field is {spec.field!r}, but the rows of {spec.dataset} have {', '.join(sorted(row))}; "
                "name a column of strings."
            )
        if row[spec.field] is not None:
            yield row[spec.field]


def _decoded(rows: Iterable[dict[str, Any]], dataset: str) -> Iterator[dict[str, Any]]:
    """Yield rows as they come. Raises DataError, with the number of rows before it, where one cannot be read."""
    read = 0
    try:
        for row in rows:
            yield row
            read += 1
    except (UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise DataError(
            f"data.corpus.dataset is {dataset!r}, which cannot be read after row {read}: {error}; "
            "choose another split or dataset."
        ) from None
