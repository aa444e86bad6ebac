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
