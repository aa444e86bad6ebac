"""URLs of object stores: which are read, what lies below which, and that no secret is repeated."""

import os
from pathlib import Path

import pytest

from prolu.spec.urls import ObjectUrl, is_url, parse_url, split_roots


@pytest.mark.parametrize("text", ["s3://b", "gs://lab-1/a.b/c d/x=1", "s3://b/a/b.npy"])
def test_a_url_is_read_and_written_back(text: str) -> None:
    assert str(parse_url(text)) == text
    assert parse_url(text + "/") == parse_url(text)


def test_a_url_has_a_bucket_a_path_and_a_name() -> None:
    url = parse_url("s3://lab/gpt2/a.npy")
    assert url == ObjectUrl("s3", "lab", ("gpt2", "a.npy"))
    assert (url.path, url.name, parse_url("s3://lab").name) == ("lab/gpt2/a.npy", "a.npy", "lab")


@pytest.mark.parametrize(
    ("location", "meant"),
    [("s3://b", True), ("http://x/y", True), ("a/b", False), ("/a:b", False), ("package:x", False)],
)
def test_a_url_is_told_from_a_path(location: str, meant: bool) -> None:
    assert is_url(location) is meant


def test_only_whole_parts_lie_below_a_root() -> None:
    root = parse_url("s3://b/lab")
    assert parse_url("s3://b/lab").is_below(root)
    assert parse_url("s3://b/lab/x/y").is_below(root)
    assert parse_url("s3://b/x").is_below(parse_url("s3://b"))
    for other in ("s3://b/lab2", "s3://b", "s3://c/lab", "gs://b/lab", "s3://b/x/lab"):
        assert not parse_url(other).is_below(root)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("http://b/x", "not read here; use s3:// or gs:// or a path"),
        ("file:///etc/passwd", "not read here"),
        ("S3://b/x", "not read here"),
        ("s3://", "names no bucket"),
        ("s3:///x", "names no bucket"),
        ("s3://../x", "names no bucket"),
        ("s3://b//x", "empty part"),
        ("s3://b/a/../../c", "one of dots alone"),
        ("s3://b/./c", "one of dots alone"),
        ("s3://b/*.npy", "pattern or a query"),
        ("s3://b/a?versionId=1", "pattern or a query"),
        ("s3://b/a::simplecache", "'::' would mean"),
    ],
)
def test_what_is_no_plain_prefix_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_url(text)


@pytest.mark.parametrize("text", ["s3://key:hunter2@b/x", "s3://key:hunter/2@b", "https://hunter2@host/x"])
def test_credentials_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="credentials") as caught:
        parse_url(text)
    assert "hunter" not in str(caught.value)


def test_roots_are_split_as_paths_are_save_at_the_colon_of_a_url() -> None:
    written = os.pathsep.join(["/a", "", "s3://lab/x/", "gs://y", "/d"])
    assert split_roots(written) == [Path("/a"), parse_url("s3://lab/x"), parse_url("gs://y"), Path("/d")]
    assert split_roots("") == []
    with pytest.raises(ValueError, match="a port or credentials have no place"):
        split_roots("s3://key:hunter2@lab")
