"""Corpora: which documents, in which order, with which identity, and what is refused."""

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from prolu.data import python_docs
from prolu.data.corpora import OpenCorpus, open_corpus
from prolu.data.places import DataError, Places
from prolu.data.prose import is_prose
from prolu.spec import Corpus


def _open(root: Path, **spec: Any) -> OpenCorpus:
    places = Places(cache_dir=root / "cache", data_roots=(root,), hub_online=False)
    corpus: Corpus = TypeAdapter(Corpus).validate_python(spec)
    return open_corpus(corpus, places)


def test_text_files_are_documents_in_name_order(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, text in (("b.txt", "two"), ("a.md", "one"), ("in/c.txt", "three \u2192 ü"), ("d.rst", "not this")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert list(_open(tmp_path, kind="text", path=".").documents()) == ["one", "two", "three \u2192 ü"]
    assert list(_open(tmp_path, kind="text", path="d.rst").documents()) == ["not this"]


def test_json_lines_are_documents(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "one", "n": 1}\n\n{"body": "two\\nlines"}\n')
    assert list(_open(tmp_path, kind="jsonl", path="a.jsonl", field="body").documents()) == ["one", "two\nlines"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 2 of a.jsonl is not JSON"),
        ("[1]", "line 2 of a.jsonl is a list; name a key"),
        ("null", "line 2 of a.jsonl is nothing; name a key"),
        ('{"body": 1, "a": 2}', r"data.corpus.field is 'text', but line 2 of a.jsonl has the keys \['a', 'body'\]"),
        ('{"text": 1}', "field is 'text', which in line 2 of a.jsonl is a number; name a key that holds text"),
        ('{"text": "bad \\ud800 half"}', "line 2 of a.jsonl holds half a surrogate pair, which no text has"),
        ('{"text": "bad \\xff byte"}', "line 2 of a.jsonl is not JSON"),
        ("[" * 100_000, "line 2 of a.jsonl is not JSON"),
    ],
)
def test_a_line_without_text_is_refused_by_number(tmp_path: Path, line: str, sentence: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "one"}}\n{line}\n')
    with pytest.raises(DataError, match=sentence):
        list(_open(tmp_path, kind="jsonl", path="a.jsonl").documents())


def test_json_lines_whose_text_is_null_are_no_documents(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": null}\n{"text": "two \\ud83d\\ude00"}\n')
    assert list(_open(tmp_path, kind="jsonl", path="a.jsonl").documents()) == ["one", "two \U0001f600"]


def _text_column(*cells: bytes) -> pa.Array:
    """A column of strings with these bytes, which Arrow does not check."""
    ends = pa.array([0, *itertools.accumulate(map(len, cells))], pa.int32())
    return pa.Array.from_buffers(pa.string(), len(cells), [None, ends.buffers()[1], pa.py_buffer(b"".join(cells))])


@pytest.mark.parametrize("cell", [b"bad \xed\xa0\x80 half", b"bad \xff byte"])
def test_a_parquet_row_whose_bytes_are_no_text_is_refused_by_number(tmp_path: Path, cell: bytes) -> None:
    pq.write_table(pa.table({"text": _text_column(*[b"one"] * 299, cell)}), tmp_path / "a.parquet")
    documents = _open(tmp_path, kind="parquet", path="a.parquet").documents()
    with pytest.raises(DataError, match=r"row 300 of a\.parquet is not UTF-8 text"):
        list(documents)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_parquet_rows_are_documents_and_nulls_are_none(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array(["one", None, "two"], type=kind)
    pq.write_table(pa.table({"n": [1, 2, 3], "text": column}), tmp_path / "a.parquet")
    assert list(_open(tmp_path, kind="parquet", path="a.parquet").documents()) == ["one", "two"]


def test_a_parquet_column_that_is_missing_or_not_text_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1], "body": ["x"]}), tmp_path / "a.parquet")
    for field in ("text", "n"):
        with pytest.raises(
            DataError, match=rf"field is '{field}', but a.parquet has the columns n \(int64\), body \(string\)"
        ):
            list(_open(tmp_path, kind="parquet", path="a.parquet", field=field).documents())


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"a\.parquet, which is not readable Parquet"):
        list(_open(tmp_path, kind="parquet", path="a.parquet").documents())


def test_a_parquet_footer_that_is_damaged_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["one", "two"]}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    (tmp_path / "a.parquet").write_bytes(whole[:footer] + b"\xff" * 40 + whole[footer + 40 :])
    with pytest.raises(DataError, match=r"a\.parquet, which is not readable Parquet"):
        list(_open(tmp_path, kind="parquet", path="a.parquet").documents())


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"a\.txt, which is not UTF-8"):
        list(_open(tmp_path, kind="text", path="a.txt").documents())


def test_a_missing_path_and_a_folder_without_text_name_the_field(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data\.corpus\.path is 'no', which does not exist"):
        _open(tmp_path, kind="text", path="no")
    with pytest.raises(DataError, match=r"data\.corpus\.path is 'empty', a folder without any \.md or \.txt file"):
        _open(tmp_path, kind="text", path="empty")


def test_identity_is_the_content_and_not_the_place(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text("same" if name != "three" else "other")
    one, two, three = (_open(tmp_path, kind="text", path=name).identity for name in ("one", "two", "three"))
    assert one == two != three
    (tmp_path / "one" / "one.txt").write_text("changed")
    assert _open(tmp_path, kind="text", path="one").identity != one


@pytest.fixture(scope="module")
def docs() -> list[str]:
    return python_docs.documents()


def test_python_docs_are_english_of_which_no_paragraph_stands_twice(docs: list[str]) -> None:
    assert sum(len(document) for document in docs) > 1_000_000
    paragraphs = [paragraph for document in docs for paragraph in document.split("\n\n")]
    assert all(is_prose(paragraph) for paragraph in paragraphs)
    assert len(paragraphs) == len({paragraph.lower() for paragraph in paragraphs})


def test_python_docs_are_the_same_for_another_process_and_import_nothing(docs: list[str], tmp_path: Path) -> None:
    code = """
import hashlib, json, sys
from prolu.data import python_docs
text = "\\0".join(python_docs.documents())
imported = {"antigravity", "this", "pydoc_data.topics", "idlelib"} & set(sys.modules)
print(json.dumps([hashlib.sha256(text.encode()).hexdigest(), sorted(imported)]))
"""
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)
    digest, imported = json.loads(other.stdout)
    assert digest == hashlib.sha256("\0".join(docs).encode()).hexdigest()
    assert imported == []
