"""Files and folders are looked for below the data roots alone, shards also below allowed URLs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prolu.spec.urls import parse_url
from service.store.inputs import check
from service.store.surroundings import Surroundings
from tests.service.store.named import corpus, language_model, only, shards


def test_a_file_or_folder_below_a_root_is_fine(where: Surroundings) -> None:
    (where.data_roots[0] / "texts").mkdir()
    (where.data_roots[0] / "texts" / "a.md").write_text("words")
    (where.data_roots[0] / "b.jsonl").write_text('{"text": "words"}')
    assert check(corpus("text", "texts"), where, []) == []
    assert check(corpus("text", str(where.data_roots[0] / "texts" / "a.md")), where, []) == []
    assert check(corpus("jsonl", "b.jsonl"), where, []) == []


def test_a_second_root_is_looked_in_too(where: Surroundings, tmp_path: Path) -> None:
    second = tmp_path / "more"
    second.mkdir()
    (second / "a.npy").write_bytes(b"x")
    assert check(shards("a.npy"), replace(where, data_roots=(*where.data_roots, second)), []) == []


def test_a_path_that_does_not_exist_is_named_with_the_roots(where: Surroundings) -> None:
    mistake = only(corpus("text", "nowhere"), where)
    assert mistake.pointer == "/data/corpus/path"
    assert mistake.sentence == (
        f"data.corpus.path is 'nowhere', which does not exist below the data roots ({where.data_roots[0]}); check the path."
    )


@pytest.mark.parametrize("location", ["/etc/passwd", "../outside", "/nowhere/at/all", "a/../../outside"])
def test_a_path_outside_the_roots_is_refused_whether_it_exists_or_not(
    where: Surroundings, tmp_path: Path, location: str
) -> None:
    (tmp_path / "outside").write_text("secret")
    mistake = only(shards(location), where)
    assert "leads outside the data roots" in mistake.sentence


def test_a_link_that_leads_outside_is_refused(where: Surroundings, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("secret")
    (where.data_roots[0] / "link").symlink_to(outside)
    assert "leads outside" in only(corpus("text", "link"), where).sentence
    (where.data_roots[0] / "texts").mkdir()
    (where.data_roots[0] / "texts" / "b.txt").symlink_to(outside / "a.txt")
    assert "leads outside" in only(corpus("text", "texts"), where).sentence


def test_a_link_within_the_roots_is_followed(where: Surroundings) -> None:
    (where.data_roots[0] / "a.txt").write_text("words")
    (where.data_roots[0] / "b.txt").symlink_to(where.data_roots[0] / "a.txt")
    assert check(corpus("text", "b.txt"), where, []) == []


def test_what_is_empty_is_refused(where: Surroundings) -> None:
    root = where.data_roots[0]
    (root / "empty.txt").write_text("")
    assert "which is empty" in only(corpus("text", "empty.txt"), where).sentence
    (root / "folder").mkdir()
    (root / "folder" / "a.bin").write_bytes(b"x")
    assert "without any .md or .txt file" in only(corpus("text", "folder"), where).sentence
    assert "without any .npy or .parquet or .safetensors file" in only(shards("folder"), where).sentence


def test_paths_that_no_file_system_has_are_refused_quietly(where: Surroundings) -> None:
    assert "does not exist" in only(shards("x" * 1000), where).sentence
    (where.data_roots[0] / "loop").symlink_to(where.data_roots[0] / "loop")
    assert len(check(shards("loop"), where, [])) == 1


def test_shards_that_do_not_fit_together_are_refused(where: Surroundings) -> None:
    folder = where.data_roots[0] / "acts"
    folder.mkdir()
    np.save(folder / "a.npy", np.ones((20_000, 3), np.float32))
    assert check(shards("acts"), where, []) == []
    np.save(folder / "b.npy", np.ones((20_000, 4), np.float32))
    assert only(shards("acts"), where).sentence == (
        "data.path holds a.npy of width 3 and b.npy of width 4; all shards must have one d_in."
    )


def test_what_begins_with_a_dot_is_not_looked_at_with_its_folder(where: Surroundings) -> None:
    folder = where.data_roots[0] / "acts"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    for name in ("._a.npy", ".ipynb_checkpoints/a.npy"):
        np.save(folder / name, np.ones((20_000, 4), np.float32))
    assert "a folder without any" in only(shards("acts"), where).sentence
    np.save(folder / "a.npy", np.ones((20_000, 3), np.float32))
    assert check(shards("acts"), where, []) == []
    assert check(shards("acts/.ipynb_checkpoints"), where, []) == []


@pytest.fixture
def with_bucket(where: Surroundings) -> Surroundings:
    return replace(where, url_roots=(parse_url("s3://lab/gpt2"),))


@pytest.mark.parametrize("path", ["s3://lab/gpt2", "s3://lab/gpt2/layer-6/", "s3://lab/gpt2/a.parquet"])
def test_shards_below_an_allowed_url_are_fine(with_bucket: Surroundings, path: str) -> None:
    assert check(shards(path), with_bucket, []) == []


@pytest.mark.parametrize("path", ["s3://lab", "s3://lab/gpt2-private/x", "gs://lab/gpt2", "s3://other/gpt2"])
def test_a_url_outside_the_roots_is_refused(with_bucket: Surroundings, path: str) -> None:
    mistake = only(shards(path), with_bucket)
    assert mistake.pointer == "/data/path"
    assert (
        f"leads outside the data roots of this service ({with_bucket.data_roots[0]}, s3://lab/gpt2)" in mistake.sentence
    )


@pytest.mark.parametrize("path", ["s3://lab/gpt2/../x", "http://host/x", "s3://key:hunter2@lab/gpt2"])
def test_a_url_that_is_not_a_plain_prefix_is_refused_without_its_secrets(with_bucket: Surroundings, path: str) -> None:
    mistake = only(shards(path), with_bucket)
    assert mistake.pointer == "/data/path"
    assert "hunter" not in mistake.sentence


def test_texts_and_models_are_not_read_from_urls(with_bucket: Surroundings) -> None:
    assert "is a URL, but only shards" in only(corpus("text", "s3://lab/gpt2/texts"), with_bucket).sentence
    assert "is a URL, but only shards" in only(language_model(model="s3://lab/gpt2/model"), with_bucket).sentence
