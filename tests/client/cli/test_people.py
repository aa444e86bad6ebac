"""`prolu whoami`, `user`, `token`, `audit`, `share`, `unshare`: what people type, read, and never see twice."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main

from prolu.client import Client, Conflict, Forbidden, NoSuchUser
from prolu.client.cli.app import app
from prolu.client.http import Http
from prolu.client.locate import Place
from prolu.client.wire import MeRead
from prolu.spec import SpecError
from tests.client.conftest import Prolu
from tests.client.desk import SWEEP, Running


@pytest.fixture
def ada(client: Client) -> str:
    """A member of that name, who is there once for all tests of the service."""
    try:
        client.users.create("ada")
    except Conflict:
        client.users.change("ada", role="member", disabled=False, weight=1.0, max_queued=None)
    return "ada"


def test_whoami_says_what_the_token_is_good_for(prolu: Prolu) -> None:
    status, out, _ = prolu("whoami")
    assert status == 0
    assert "admin, admin, at http://127.0.0.1" in out
    assert "token: scope admin, does not end" in out
    assert "runs that wait: 0 of any number" in out
    assert json.loads(prolu("whoami", "--json")[1])["limits"]["queued"] == 0


def test_a_user_is_made_changed_disabled_and_listed(prolu: Prolu, ada: str) -> None:
    status, _, err = prolu("user", "add", "ada")
    assert (status, "already" in err) == (1, True)
    assert "prolu token create --user" in (prolu("user", "add", f"u{os.getpid()}", "--role", "viewer")[2])
    assert (
        "ada is a viewer; weight 2, runs that may wait: 7"
        in (prolu("user", "set", "ada", "--role", "viewer", "--weight", "2", "--max-queued", "7")[2])
    )
    assert "runs that may wait: default" in prolu("user", "set", "ada", "--max-queued", "default")[2]
    assert "ada is disabled" in prolu("user", "disable", "ada")[2]
    listed = prolu("user", "list")[1]
    assert "disabled 0 s ago" in listed
    assert "ada is a viewer" in prolu("user", "enable", "ada")[2]
    assert {"admin", "ada"} <= {user["name"] for user in json.loads(prolu("user", "list", "--json")[1])}


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["user", "add", "Ada/../x"], 2, "must be a name of small letters"),
        (["user", "set", "ada"], 2, "Say what to change"),
        (["user", "set", "ada", "--max-queued", "many"], 2, "must be a number of runs"),
        (["user", "set", "ada", "--weight", "-1"], 2, "greater than 0"),
        (["user", "disable", "nobody"], 4, "no user 'nobody'"),
        (["user", "disable", "admin"], 1, "last administrator"),
        (["token", "create", ""], 2, "at least 1"),
        (["token", "create", "x", "--for", "soon"], 2, "must be a time"),
        (["token", "create", "x", "--for", "9999d"], 2, "at most 366"),
        (["token", "create", "x", "--user", "nobody"], 4, "no user 'nobody'"),
        (["token", "revoke", "zz"], 2, "no id of a token"),
        (["token", "revoke", "ffffffff"], 4, "No token has an id"),
        (["share", "last", "Ada/x"], 2, "must be a name"),
        (["audit", "--since", "2026-01-01T00:00:00"], 2, "time zone"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    prolu: Prolu, ada: str, arguments: list[str], status: int, words: str
) -> None:
    found, _, err = prolu(*arguments)
    assert (found, words in err) == (status, True), err
    assert "Traceback" not in err


def test_a_token_is_printed_once_and_with_a_word_on_where_to_put_it(
    prolu: Prolu, service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = prolu("token", "create", "laptop", "--scope", "read", "--for", "2d")
    token = out.strip()
    assert (status, token.startswith("prolu_")) == (0, True)
    assert token not in err
    assert f"shown this once. Use it with PROLU_URL={service.url}, and put it into PROLU_TOKEN" in err
    listed = json.loads(prolu("token", "list", "--json")[1])
    (made,) = [one for one in listed if one["name"] == "laptop"]
    assert token not in json.dumps(listed)
    assert "laptop" in prolu("token", "list")[1]
    monkeypatch.setenv("PROLU_TOKEN", token)
    assert "token: scope read, ends" in prolu("whoami")[1]
    status, _, err = prolu("submit", "-", stdin="{}")
    assert status == 2
    monkeypatch.setenv("PROLU_TOKEN", service.token)
    assert "counts for nothing any more" in prolu("token", "revoke", made["id"][-8:])[2]
    assert "laptop" not in prolu("token", "list")[1]
    assert "revoked" in prolu("token", "list", "--all")[1]
    monkeypatch.setenv("PROLU_TOKEN", token)
    status, _, err = prolu("whoami")
    assert (status, "was revoked" in err, token in err) == (4, True, False)


def test_a_token_goes_into_a_file_that_nobody_else_reads(prolu: Prolu, service: Running, tmp_path: Path) -> None:
    status, out, err = prolu("token", "create", "cron", "--to", "cron.token")
    file = tmp_path / "cron.token"
    token = file.read_text().strip()
    assert (status, out, token in err) == (0, "", False)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert prolu("token", "create", "cron", "--to", "cron.token")[0] == 2
    assert file.read_text().strip() == token
    assert prolu("token", "create", "x", "--user", "nobody", "--to", "other.token")[0] == 4
    assert not (tmp_path / "other.token").exists()
    with Client(service.url, token) as cron:
        assert cron.me().scope == "write"


def _commands(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, *names, name)
        else:
            yield (*names, name), command


def test_no_command_takes_a_token_as_an_argument_and_all_of_the_groups_speak_json() -> None:
    commands = dict(_commands(typer.main.get_command(app)))
    assert ("token", "create") in commands
    for names, command in commands.items():
        options = {option for parameter in command.params for option in parameter.opts}
        assert not {"--token", "--secret", "--password"} & options, names
        if len(names) > 1:
            assert "--json" in options, names
            assert command.help, names


def test_a_sweep_is_shared_and_the_log_tells_of_it(prolu: Prolu, client: Client, ada: str) -> None:
    sweep = client.sweeps.submit(SWEEP)
    assert "is shared with ada" in prolu("share", "last", "ada")[2]
    assert "ada" in json.loads(prolu("share", str(sweep.id), "ada", "--json")[1])["editors"]
    assert "is shared with nobody" in prolu("unshare", "last", "ada")[2]
    told = prolu("audit", "--target", str(sweep.id))[1]
    assert 'editors: [] -> ["ada"]' in told
    assert told.index("unshare_sweep") < told.index("share_sweep  ")
    assert [entry["action"] for entry in json.loads(prolu("audit", "--json", "-n", "1", "--since", "1h")[1])] == [
        "unshare_sweep"
    ]


def test_the_client_says_it_all_in_python(service: Running, client: Client, ada: str) -> None:
    token = client.tokens.create("python", user=ada, expires_in_days=1)
    assert token.token not in repr(token)
    with Client(service.url, token.token) as mine:
        assert (mine.me().name, mine.me().scope) == ("ada", "write")
        with pytest.raises(Forbidden, match="needs the role admin"):
            mine.users.list()
        assert [one.name for one in mine.tokens.list() if one.id == token.id] == ["python"]
        sweep = mine.sweeps.submit(SWEEP)
        assert mine.sweeps.unshare(sweep.id, "admin").editors == []
        assert mine.audit.list(target=sweep.id)[0].action == "submit_sweep"
    assert client.users.get(client.users.get("ada").id).name == "ada"
    with pytest.raises(NoSuchUser):
        client.users.get("nobody")
    with pytest.raises(SpecError):
        client.users.create("No Body")
    assert client.tokens.revoke(token.id).revoked_at is not None


def test_the_client_waits_as_long_as_a_limit_asks() -> None:
    waited: list[float] = []
    me = MeRead.model_validate(
        {
            "id": "0193f8c2-a1b2-7c55-b1d5-f0e5a4c3d2b1",
            "name": "ada",
            "role": "member",
            "scope": "write",
            "token_id": "0193f8c2-a1b2-7c55-b1d5-f0e5a4c3d2b1",
            "token_expires_at": None,
            "limits": {
                "max_queued": None,
                "queued": 0,
                "max_gpus": None,
                "gpus": 0,
                "max_requests_per_second": 1,
                "request_burst": 1,
            },
        }
    )

    def answer(_: httpx.Request) -> httpx.Response:
        if not waited:
            return httpx.Response(429, headers={"Retry-After": "3"}, json={})
        return httpx.Response(200, text=me.model_dump_json())

    place = Place("http://service", None, "the test")
    http = Http(place, transport=httpx.MockTransport(answer), sleep=waited.append)
    assert http.get("/v1/me", MeRead) == me
    assert waited == [3.0]
    http.close()
