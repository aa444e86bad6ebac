"""A stand-in for the hub: the part of its HTTP API that a push and a download use, on loopback, with everything in memory.

It believes nothing: what arrives is hashed, a commit that names a file that did not arrive is refused, and so is a request
without the token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_of_a_tester"


@dataclass
class Repository:
    """The files of the main branch; `commits` are their states before and now."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=lambda: ["0" * 40])
    messages: list[str] = field(default_factory=list)


@dataclass
class Hub:
    """What the stand-in holds, and how it misbehaves if a test wants it to."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    refuses_large_files: bool = False
    tells_other_checksums: bool = False


def is_large(path: str) -> bool:
    return path.endswith(".safetensors")


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class _Refused(Exception):
    def __init__(self, status: int, said: str, code: str = "") -> None:
        self.status, self.said, self.code = status, said, code


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815 the names by which the server finds them

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        self._body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        try:
            if not path.startswith("/storage/") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise _Refused(401, "Invalid username or password.")
            for method, pattern, route in _ROUTES:
                if method in (self.command, "GET" if self.command == "HEAD" else "") and (
                    found := re.fullmatch(pattern, path)
                ):
                    route(self, *found.groups())
                    return
            raise _Refused(404, f"The stand-in knows no {self.command} {path}")
        except _Refused as refused:
            self._send(json.dumps({"error": refused.said}).encode(), refused.status, {"X-Error-Code": refused.code})

    def _send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status)

    def _repository(self, name: str) -> Repository:
        if name not in self.hub.repositories:
            raise _Refused(404, "Repository Not Found", "RepoNotFound")
        return self.hub.repositories[name]

    def _create(self) -> None:
        wanted = json.loads(self._body)
        name = f"{wanted['organization'] or 'tester'}/{wanted['name']}"
        exists = name in self.hub.repositories
        self.hub.repositories.setdefault(name, Repository(wanted.get("visibility") == "private"))
        self._json({"url": f"{self.hub.url}/{name}", "id": name}, 409 if exists else 200)

    def _validate_yaml(self) -> None:
        yaml.safe_load(json.loads(self._body)["content"].split("---")[1])
        self._json({"errors": [], "warnings": []})

    def _preupload(self, name: str) -> None:
        there = self._repository(name).files
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                "shouldIgnore": False,
                "oid": _oid(file["path"], there[file["path"]]) if file["path"] in there else None,
            }
            for file in json.loads(self._body)["files"]
        ]
        self._json({"files": files})

    def _batch(self, name: str) -> None:
        self._repository(name)
        objects: list[dict[str, Any]] = []
        for wanted in json.loads(self._body)["objects"]:
            if self.hub.refuses_large_files:
                objects.append({**wanted, "error": {"code": 507, "message": "No space left."}})
            elif wanted["oid"] in self.hub.large:
                objects.append(wanted)
            else:
                actions = {
                    "upload": {"href": f"{self.hub.url}/storage/{wanted['oid']}"},
                    "verify": {"href": f"{self.hub.url}/verify"},
                }
                objects.append({**wanted, "actions": actions})
        self._json({"transfer": "basic", "objects": objects})

    def _store(self, oid: str) -> None:
        if hashlib.sha256(self._body).hexdigest() != oid:
            raise _Refused(400, "What came has another checksum.")
        self.hub.large[oid] = self._body
        self._json({})

    def _verify(self) -> None:
        wanted = json.loads(self._body)
        if len(self.hub.large[wanted["oid"]]) != wanted["size"]:
            raise _Refused(400, "What came has another size.")
        self._json({})

    def _commit(self, name: str) -> None:
        repository = self._repository(name)
        files = dict(repository.files)
        for line in self._body.splitlines():
            said = json.loads(line)
            value = said["value"]
            if said["key"] == "header":
                repository.messages.append(value["summary"])
            elif said["key"] == "lfsFile":
                if value["oid"] not in self.hub.large:
                    raise _Refused(400, f"{value['path']} was not uploaded.")
                files[value["path"]] = self.hub.large[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        repository.files = files
        repository.commits.append(hashlib.sha1(self._body, usedforsecurity=False).hexdigest())
        commit = repository.commits[-1]
        self._json({"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{name}/commit/{commit}"})

    def _paths_info(self, name: str) -> None:
        files = self._repository(name).files
        told = [_file(path, files[path]) for path in parse_qs(self._body.decode())["paths"] if path in files]
        if self.hub.tells_other_checksums:
            told = [{**one, "oid": "0" * 40} for one in told]
        self._json(told)

    def _tree(self, name: str) -> None:
        self._json([_file(path, content) for path, content in self._repository(name).files.items()])

    def _info(self, name: str) -> None:
        repository = self._repository(name)
        siblings = [{"rfilename": path} for path in repository.files]
        self._json({"id": name, "sha": repository.commits[-1], "siblings": siblings, "private": repository.private})

    def _resolve(self, name: str, path: str) -> None:
        repository = self._repository(name)
        if path not in repository.files:
            raise _Refused(404, "Entry not found", "EntryNotFound")
        content = repository.files[path]
        self._send(content, 200, {"X-Repo-Commit": repository.commits[-1], "ETag": f'"{_oid(path, content)}"'})


def _oid(path: str, content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if is_large(path) else blob_id(content)


def _file(path: str, content: bytes) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}
    return said | (
        {"lfs": {"oid": _oid(path, content), "size": len(content), "pointerSize": 128}} if is_large(path) else {}
    )


_REPOSITORY = r"([\w.-]+/[\w.-]+)"
_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("POST", "/api/repos/create", _Handler._create),
    ("POST", "/api/validate-yaml", _Handler._validate_yaml),
    ("POST", f"/api/models/{_REPOSITORY}/preupload/main", _Handler._preupload),
    ("POST", f"/{_REPOSITORY}.git/info/lfs/objects/batch", _Handler._batch),
    ("PUT", "/storage/([0-9a-f]{64})", _Handler._store),
    ("POST", "/verify", _Handler._verify),
    ("POST", f"/api/models/{_REPOSITORY}/commit/main", _Handler._commit),
    ("POST", f"/api/models/{_REPOSITORY}/paths-info/.*", _Handler._paths_info),
    ("GET", f"/api/models/{_REPOSITORY}/tree/.*", _Handler._tree),
    ("GET", f"/api/models/{_REPOSITORY}(?:/revision/.*)?", _Handler._info),
    ("GET", f"/{_REPOSITORY}/resolve/[^/]+/(.+)", _Handler._resolve),
]


@contextmanager
def running_hub() -> Iterator[Hub]:
    """The stand-in on a free port of loopback."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
