"""The client finds its service, and shows its token to no other."""

import json
from pathlib import Path

import pytest

from prolu.client.errors import ConnectionFailed, UnusableToken
from prolu.client.locate import data_dir, locate


@pytest.fixture
def here(tmp_path: Path) -> dict[str, str]:
    """An environment whose data directory holds the notes of a `prolu up`."""
    (tmp_path / "endpoint.json").write_text(json.dumps({"url": "http://127.0.0.1:8321", "pid": 1}))
    (tmp_path / "token").write_text("of-this-machine\n")
    return {"PROLU_DATA_DIR": str(tmp_path)}


def test_the_notes_of_prolu_up_give_address_and_token(here: dict[str, str]) -> None:
    place = locate(environment=here)
    assert (place.url, place.token) == ("http://127.0.0.1:8321", "of-this-machine")
    assert place.source.endswith("endpoint.json")


def test_arguments_count_more_than_the_environment_and_that_more_than_notes(here: dict[str, str]) -> None:
    environment = {**here, "PROLU_URL": "https://lab/", "PROLU_TOKEN": "mine"}
    assert locate(environment=environment).url == "https://lab"
    assert locate("https://other", "hers", environment=environment).url == "https://other"
    assert locate("https://other", "hers", environment=environment).token == "hers"


def test_the_token_of_this_machine_is_not_shown_to_another_service(here: dict[str, str]) -> None:
    assert locate("https://elsewhere", environment=here).token is None
    assert locate(environment={**here, "PROLU_URL": "https://elsewhere"}).token is None


def test_the_token_of_this_machine_is_shown_to_its_own_service_however_it_was_named(here: dict[str, str]) -> None:
    assert locate("http://127.0.0.1:8321/", environment=here).token == "of-this-machine"


def test_a_token_file_elsewhere_is_read(here: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "other").write_text("from-the-other-file")
    assert locate(environment={**here, "PROLU_TOKEN_FILE": str(tmp_path / "other")}).token == "from-the-other-file"


def test_a_token_file_that_is_named_is_read_for_whatever_address_is(tmp_path: Path) -> None:
    (tmp_path / "grace.token").write_text("of-grace\n")
    there = {"PROLU_DATA_DIR": str(tmp_path / "none"), "PROLU_TOKEN_FILE": str(tmp_path / "grace.token")}
    assert locate(environment={**there, "PROLU_URL": "https://lab"}).token == "of-grace"
    assert locate("https://lab", environment=there).token == "of-grace"


@pytest.mark.parametrize("token", ["", "  ", "s3cr\xe9t", "s3cr\nt", "s3cr t", "s3cr\udce9t"])
def test_a_token_that_no_header_can_carry_is_refused_and_never_shown(here: dict[str, str], token: str) -> None:
    with pytest.raises(UnusableToken, match=r"^The token in PROLU_TOKEN ") as caught:
        locate(environment={**here, "PROLU_TOKEN": token})
    assert "s3cr" not in repr(caught.value)
    with pytest.raises(UnusableToken, match=r"^The token argument "):
        locate(token=token, environment=here)


@pytest.mark.parametrize("content", [b"", b" \n", b"s3cr\xe9t\n", "s3cr\xe9t".encode(), b"s3cr\nt\n"])
def test_a_token_file_without_a_usable_token_is_named(here: dict[str, str], content: bytes) -> None:
    file = Path(here["PROLU_DATA_DIR"]) / "token"
    file.write_bytes(content)
    with pytest.raises(UnusableToken, match=rf"^The token in {file} ") as caught:
        locate(environment=here)
    assert "s3cr" not in repr(caught.value)


def test_a_place_does_not_show_its_token(here: dict[str, str]) -> None:
    assert "of-this-machine" not in repr(locate(environment=here))


def test_without_any_note_the_sentence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match=r"PROLU_URL is not set and .*endpoint\.json does not exist; start one"):
        locate(environment={"PROLU_DATA_DIR": str(tmp_path)})


@pytest.mark.parametrize("note", ["", "[]", "{}", "null", '"x"', "\x00"])
def test_a_broken_note_is_said_to_be_one(tmp_path: Path, note: str) -> None:
    (tmp_path / "endpoint.json").write_text(note)
    with pytest.raises(ConnectionFailed, match="is not what `prolu up` writes"):
        locate(environment={"PROLU_DATA_DIR": str(tmp_path)})


def test_the_data_directory_is_the_users_by_default() -> None:
    assert data_dir({}).name == "prolu"
    assert data_dir({"PROLU_DATA_DIR": "relative"}).is_absolute()
