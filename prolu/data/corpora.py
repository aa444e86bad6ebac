"""Open the texts that a language model reads: each corpus is a stream of documents with an identity.

The identity goes into the digest of extracted activations: equal identities are equal texts. Of every kind that has fields, a
text that is null is no document and is passed over; one that is missing, or not text that UTF-8 can hold, is a DataError.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from prolu.data import python_docs
from prolu.data.fingerprint import fingerprints, remembered
from prolu.data.places import DataError, Places
from prolu.spec.data import Corpus, HubCorpus, JsonlCorpus, ParquetCorpus, PythonDocsCorpus, TextCorpus
from prolu.spec.mistakes import kind_of

# Rows of Parquet decoded at once, and about how many bytes of them; so many are read at once.
_PARQUET_ROWS = 8
_PIECE_BYTES = 8 * 2**20
# Text packs to about a third. What packs better than the first may be one cell in a dictionary, which every row of it unpacks;
# what packs better than the second was made to take memory.
_OFTEN_THE_SAME = 30
_MOST_TO_ONE = 1_000
# Entries of the lists in a footer.
_MOST_ENTRIES = 1_000_000
# The longest document: of a file of text, a line or a cell; and keys that are named where one is missing.
_LONGEST_LINE_BYTES = 64 * 2**20
_KEYS_NAMED = 5
_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class OpenCorpus:
    """A corpus that can be read."""

    identity: dict[str, Any]
    """Plain data that stands for the text: content hashes, or a dataset and its commit."""
    documents: Callable[[], Iterator[str]]
    """Begins to read: yields each document, in a fixed order. Raises DataError where one cannot be read."""


def open_corpus(spec: Corpus, places: Places) -> OpenCorpus:
    """Find the corpus and identify its content, without reading it as text.

    Raises DataError if it does not exist, is not allowed or has no file.
    """
    match spec:
        case PythonDocsCorpus():
            return _open_python_docs(places)
        case TextCorpus():
            paths = places.files(spec.path, {".txt", ".md"}, field="data.corpus.path")
            return OpenCorpus(_identity(spec, paths, places), lambda: _read_texts(paths))
        case JsonlCorpus():
            paths = places.files(spec.path, {".jsonl"}, field="data.corpus.path")
            return OpenCorpus(_identity(spec, paths, places), lambda: _read_jsonl(paths, spec.field))
        case ParquetCorpus():
            paths = places.files(spec.path, {".parquet"}, field="data.corpus.path")
            return OpenCorpus(_identity(spec, paths, places), lambda: _read_parquet(paths, spec.field))
        case HubCorpus():
            # Imported here: the library takes seconds to load, and other corpora do without it.
            from prolu.data.hub_corpus import open_hub_dataset

            identity, documents = open_hub_dataset(spec, online=places.hub_online)
            return OpenCorpus(identity, documents)


def _open_python_docs(places: Places) -> OpenCorpus:
    def hash_text() -> list[str]:
        content = hashlib.sha256()
        for document in python_docs.documents():
            content.update(hashlib.sha256(document.encode()).digest())
        return [content.hexdigest()]

    [digest] = remembered("python_docs 1", python_docs.files(), hash_text, cache_dir=places.cache_dir)
    return OpenCorpus({"kind": "python_docs", "sha256": digest}, lambda: iter(python_docs.documents()))


def _identity(spec: TextCorpus | JsonlCorpus | ParquetCorpus, paths: Sequence[Path], places: Places) -> dict[str, Any]:
    """Kind, key and content of the files in order; where they lie does not matter."""
    return spec.model_dump(exclude={"path"}) | {"sha256": fingerprints(paths, cache_dir=places.cache_dir)}


def _read_texts(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        if (size := path.stat().st_size) > _LONGEST_LINE_BYTES:
            raise DataError(
                f"data.corpus.path holds {path.name}, which has {size} bytes and is one document, of which "
                f"{_LONGEST_LINE_BYTES} is the most; split it."
            )
        try:
            yield path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"data.corpus.path holds {path.name}, which is not UTF-8 text ({error}); convert it."
            ) from None


def _read_jsonl(paths: Sequence[Path], field: str) -> Iterator[str]:
    for path in paths:
        with path.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(_LONGEST_LINE_BYTES + 1), b""), start=1):
                if len(line) > _LONGEST_LINE_BYTES:
                    raise DataError(
                        f"data.corpus.path: line {number} of {path.name} has more than {_LONGEST_LINE_BYTES} bytes; split it."
                    )
                if line.strip():
                    text = _text_of(line, field, f"line {number} of {path.name}")
                    if text is not None:
                        yield text


def _text_of(line: bytes, field: str, place: str) -> str | None:
    """Return the text of a line of JSON, None where it is null. Raises DataError for anything else."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"data.corpus.path: {place} is not JSON ({error}); mend or remove it.") from None
    if not isinstance(record, dict) or field not in record:
        got = (
            f"has the keys {[key[:80] for key in sorted(record)[:_KEYS_NAMED]]}"
            if isinstance(record, dict)
            else f"is {kind_of(record)}"
        )
        raise DataError(f"data.corpus.field is {field!r}, but {place} {got}; name a key that holds text.")
    text = record[field]
    if text is not None and not isinstance(text, str):
        raise DataError(
            f"data.corpus.field is {field!r}, which in {place} is {kind_of(text)}; name a key that holds text."
        )
    if text is not None and _HALF_PAIR.search(text):  # JSON can say it, UTF-8 cannot
        raise DataError(f"data.corpus.path: {place} holds half a surrogate pair, which no text has; mend or remove it.")
    return text


def _read_parquet(paths: Sequence[Path], field: str) -> Iterator[str]:
    for path in paths:
        try:
            with pq.ParquetFile(path, buffer_size=_PIECE_BYTES, thrift_container_size_limit=_MOST_ENTRIES) as file:
                schema = file.schema_arrow
                if field not in schema.names or not _is_text(schema.field(field).type):
                    columns = ", ".join(f"{column.name} ({column.type})" for column in schema)
                    raise DataError(
                        f"data.corpus.field is {field!r}, but {path.name} has the columns {columns}; name one of strings."
                    )
                rows = _rows_at_once(file.metadata, field, path)
                batches = file.iter_batches(batch_size=rows, columns=[field], use_threads=False)
                cells = itertools.chain.from_iterable(batch.column(0) for batch in batches)
                for number, cell in enumerate(cells, start=1):
                    text = _text_of_cell(cell, f"row {number} of {path.name}")
                    if text is not None:
                        yield text
        except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the disk; a damaged file has none
                raise
            raise DataError(f"data.corpus.path holds {path.name}, which is not readable Parquet ({error}).") from None


def _rows_at_once(metadata: Any, field: str, path: Path) -> int:
    """Rows of which the text takes about one piece, by the footer. Raises DataError where it unpacks out of all proportion."""
    rows, size = _PARQUET_ROWS, path.stat().st_size
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema != field:
                continue
            unpacked, packed = int(column.total_uncompressed_size), min(int(column.total_compressed_size), size)
            if unpacked > max(_LONGEST_LINE_BYTES, _MOST_TO_ONE * size):
                raise DataError(
                    f"data.corpus.path holds {path.name}, of which {size} bytes unpack to {unpacked} of text; "
                    "write it again with less in a row group."
                )
            mean = max(1, unpacked // max(1, int(column.num_values)))
            rows = 1 if unpacked > _OFTEN_THE_SAME * packed else max(1, min(rows, _PIECE_BYTES // mean))
    return rows


def _text_of_cell(cell: pa.Scalar, place: str) -> str | None:
    """Return the text of a cell, None where it is null. Raises DataError where it is too long, or its bytes are no text."""
    content = cell.as_buffer()
    if content is not None and content.size > _LONGEST_LINE_BYTES:
        raise DataError(f"data.corpus.path: {place} has more than {_LONGEST_LINE_BYTES} bytes; split it.")
    try:
        text: str | None = cell.as_py()
    except UnicodeDecodeError as error:
        raise DataError(f"data.corpus.path: {place} is not UTF-8 text ({error}); mend or remove it.") from None
    return text


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
