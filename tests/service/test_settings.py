"""Settings come from the environment, and their defaults lie below one folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings, WrongSetting, read_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PROLU_", "RAY_ADDRESS", "HF_"))]:
        monkeypatch.delenv(name)


def test_everything_lies_below_the_data_folder_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROLU_DATA_DIR", str(tmp_path))
    settings = Settings()
    assert settings.database_url == f"sqlite:///{tmp_path}/prolu.db"
    assert settings.artifact_root == f"{tmp_path}/artifacts"
    assert settings.cache_dir == tmp_path / "cache"
    assert settings.data_roots == (tmp_path / "data",)
    assert settings.token_file == tmp_path / "token"


def test_the_data_folder_follows_the_systems_custom(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Settings().data_dir == tmp_path / "prolu"


def test_data_roots_are_separated_as_paths_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROLU_DATA_ROOTS", os.pathsep.join(["/a", "/b c"]))
    assert Settings().data_roots == (Path("/a"), Path("/b c"))


def test_data_roots_may_be_urls_whose_colon_separates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROLU_DATA_ROOTS", os.pathsep.join(["/a", "s3://lab/gpt2/", "gs://other", "/b"]))
    settings = Settings()
    assert settings.data_folders == (Path("/a"), Path("/b"))
    assert [str(root) for root in settings.data_roots] == ["/a", "s3://lab/gpt2", "gs://other", "/b"]
    assert [str(root) for root in settings.data_urls] == ["s3://lab/gpt2", "gs://other"]


@pytest.mark.parametrize(
    "root", ["http://host/x", "s3://key:hunter2@lab/x", "s3://hunter2@lab", "s3://", "s3://a/../x", "file:///x"]
)
def test_a_data_root_that_is_no_plain_url_is_refused_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    monkeypatch.setenv("PROLU_DATA_ROOTS", root)
    with pytest.raises(WrongSetting, match=r"The setting PROLU_DATA_ROOTS is wrong: .*; correct it\.") as caught:
        read_settings()
    assert "hunter" not in str(caught.value)


def test_relative_folders_are_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_dir=Path("home"), data_roots=(Path("texts"),))
    assert settings.data_dir == tmp_path / "home"
    assert settings.data_roots == (tmp_path / "texts",)


def test_rays_own_variable_is_read_and_ours_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().ray_address is None
    monkeypatch.setenv("RAY_ADDRESS", "theirs:1")
    assert Settings().ray_address == "theirs:1"
    monkeypatch.setenv("PROLU_RAY_ADDRESS", "ours:1")
    assert Settings().ray_address == "ours:1"


def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROLU_HUB", "maybe")
    with pytest.raises(ValidationError, match="check"):
        Settings()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROLU_DATABASE_URL", "postgresql://lab:hunter2@host/prolu")
    monkeypatch.setenv("HF_TOKEN", "hf_hunter3")
    assert "hunter" not in repr(Settings())
    assert "hunter" not in str(Settings())


def test_settings_do_not_change(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Settings(data_dir=tmp_path).port = 1  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
