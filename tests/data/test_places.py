"""What a spec may read: what lies below a data root, wherever links point."""

from pathlib import Path

import pytest

from prolu.data.places import DataError, Places


@pytest.fixture
def held(tmp_path: Path) -> tuple[Path, Places]:
    for name in ("root", "other", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(name)
    places = Places(cache_dir=tmp_path, data_roots=(tmp_path / "root", tmp_path / "other"), hub_online=False)
    return tmp_path, places


def test_a_relative_location_is_looked_up_below_each_root(held: tuple[Path, Places]) -> None:
    base, places = held
    assert places.resolve("root.txt", field="data.path") == base / "root" / "root.txt"
    assert places.resolve("other.txt", field="data.path") == base / "other" / "other.txt"
    assert places.resolve(str(base / "other" / "other.txt"), field="data.path") == base / "other" / "other.txt"


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../outside/outside.txt", "x/../../outside", "link", "link/outside.txt"]
)
def test_nothing_outside_the_roots_is_opened(held: tuple[Path, Places], location: str) -> None:
    base, places = held
    (base / "root" / "link").symlink_to(base / "outside")
    (base / "other" / "link").symlink_to(base / "outside")
    with pytest.raises(DataError, match=r"data\.path is '.*', which leads outside the data roots"):
        places.resolve(location, field="data.path")


def test_a_link_between_roots_is_followed(held: tuple[Path, Places]) -> None:
    base, places = held
    (base / "root" / "link").symlink_to(base / "other")
    assert places.resolve("link/other.txt", field="data.path") == base / "other" / "other.txt"


def test_a_link_to_a_file_outside_is_refused_inside_a_folder_too(held: tuple[Path, Places]) -> None:
    base, places = held
    (base / "root" / "link.txt").symlink_to(base / "outside" / "outside.txt")
    with pytest.raises(DataError, match="through a link"):
        places.files(str(base / "root"), {".txt"}, field="data.path")


def test_what_begins_with_a_dot_is_not_read_with_its_folder_but_may_be_asked_for(held: tuple[Path, Places]) -> None:
    base, places = held
    root = base / "root"
    for name in ("._root.txt", ".checkpoints/a.txt", "deep/.trash/b.txt", "deep/c.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("text")
    assert places.files(str(root), {".txt"}, field="data.path") == [root / "deep" / "c.txt", root / "root.txt"]
    assert places.files(".checkpoints", {".txt"}, field="data.path") == [root / ".checkpoints" / "a.txt"]
    assert places.files("._root.txt", {".txt"}, field="data.path") == [root / "._root.txt"]
    assert len(places.files(str(root), None, field="data.model")) == 5


def test_a_path_that_does_not_exist_is_named_with_the_roots(held: tuple[Path, Places]) -> None:
    base, places = held
    with pytest.raises(
        DataError, match=rf"data\.path is 'nothing', which does not exist below the data roots \({base}/root"
    ):
        places.resolve("nothing", field="data.path")


def test_without_data_roots_no_path_is_allowed(tmp_path: Path) -> None:
    places = Places(cache_dir=tmp_path, data_roots=(), hub_online=False)
    with pytest.raises(DataError, match="none is configured"):
        places.resolve(str(tmp_path), field="data.path")


def test_a_folder_without_fitting_files_is_refused(held: tuple[Path, Places]) -> None:
    base, places = held
    with pytest.raises(DataError, match=r"a folder without any \.npy file"):
        places.files(str(base / "root"), {".npy"}, field="data.path")


@pytest.fixture
def with_bucket(tmp_path: Path) -> Places:
    return Places.of(tmp_path / "cache", [str(tmp_path), "s3://lab/gpt2"], hub_online=False)


def test_roots_are_told_apart_as_they_are_written(with_bucket: Places, tmp_path: Path) -> None:
    assert with_bucket.data_roots == (tmp_path,)
    assert [str(root) for root in with_bucket.url_roots] == ["s3://lab/gpt2"]


def test_a_url_below_a_root_may_be_read(with_bucket: Places) -> None:
    assert with_bucket.resolve_url("s3://lab/gpt2/layer/", field="data.path").path == "lab/gpt2/layer"


@pytest.mark.parametrize("location", ["s3://lab", "s3://lab/gpt22", "gs://lab/gpt2", "s3://other/gpt2/x"])
def test_a_url_outside_the_roots_may_not(with_bucket: Places, location: str) -> None:
    with pytest.raises(DataError, match=r"leads outside the data roots of this service \(.*, s3://lab/gpt2\)"):
        with_bucket.resolve_url(location, field="data.path")


@pytest.mark.parametrize("location", ["s3://lab/gpt2/../x", "s3://key:hunter2@lab/gpt2"])
def test_a_url_that_is_not_a_plain_prefix_is_refused_without_its_secrets(with_bucket: Places, location: str) -> None:
    with pytest.raises(DataError, match=r"data\.path is") as caught:
        with_bucket.resolve_url(location, field="data.path")
    assert "hunter" not in str(caught.value)


def test_a_url_is_no_folder(with_bucket: Places) -> None:
    with pytest.raises(DataError, match=r"data\.corpus\.path is a URL, but only shards are read"):
        with_bucket.resolve("s3://lab/gpt2/x", field="data.corpus.path")
