"""One commit to a repository of the Hugging Face hub, by its own client, and a look at what arrived.

The token, the address and the rest come as that client takes them: HF_TOKEN or `hf auth login`, HF_ENDPOINT.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prolu.client.errors import ProluError
from prolu.client.extras import needed

_EXTRA = "hub"
CARD = "README.md"


class PushFailed(ProluError):
    """The hub did not take what was pushed, or holds something else."""


@dataclass(frozen=True)
class Pushed:
    """What is on the hub now."""

    url: str
    """Address of the repository."""
    commit: str
    """Commit that holds it."""
    path: str
    """Folder within the repository; empty for its root."""
    files: list[str]
    """Files, within the repository."""
    bytes: int
    """Their size in all."""


def check_repository(repo_id: str) -> None:
    """Refuse early what would fail after a long download. Raises MissingPackage, PushFailed."""
    with _told(f"Nothing was pushed to {repo_id!r}"):
        needed("huggingface_hub.utils", _EXTRA).validate_repo_id(repo_id)


def hide_bars() -> None:
    """Draw no bars of uploads; they belong on terminals only. Raises MissingPackage."""
    needed("huggingface_hub.utils", _EXTRA).disable_progress_bars()


def push_folder(
    folder: Path, card: str, repo_id: str, *, path: str = "", private: bool | None = None, message: str
) -> Pushed:
    """Commit every file of a folder and a model card, all or nothing; make the repository where there is none.

    The card is README.md of `path`, and of the repository too where that has none yet. `private` counts for a repository that is
    made now; None leaves it to the hub. Raises MissingPackage, PushFailed.
    """
    hub = needed("huggingface_hub", _EXTRA)
    api = hub.HfApi(library_name="prolu")
    contents: dict[str, Path | bytes] = {
        _below(path, file.relative_to(folder).as_posix()): file for file in sorted(folder.rglob("*")) if file.is_file()
    }
    contents[_below(path, CARD)] = card.encode()
    with _told(f"Nothing was pushed to {repo_id}"):
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        if path and not api.file_exists(url.repo_id, CARD):
            contents[CARD] = card.encode()
        additions = [
            hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in contents.items()
        ]
        commit = api.create_commit(url.repo_id, additions, commit_message=message)
    with _told(f"What was pushed to {repo_id} cannot be compared with what arrived; push it again"):
        there = api.get_paths_info(url.repo_id, [*contents], revision=commit.oid)
    _compare(repo_id, contents, {file.path: file for file in there})
    size = sum(len(one) if isinstance(one, bytes) else one.stat().st_size for one in contents.values())
    return Pushed(str(url), commit.oid, path, [*contents], size)


def _compare(repo_id: str, contents: dict[str, Path | bytes], there: dict[str, Any]) -> None:
    """Raise PushFailed unless the hub names the checksum of every file that was sent."""
    for name, content in contents.items():
        found = there.get(name)
        large = getattr(found, "lfs", None)
        told = None if found is None else found.blob_id if large is None else large.sha256
        ours = _blob_id(content) if large is None else _sha256(content)
        if told != ours:
            raise PushFailed(
                f"{name} in {repo_id} has the checksum {told}, sent was {ours}; delete it there and push again."
            )


def _sha256(content: Path | bytes) -> str:
    """By which the hub knows large files."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _blob_id(content: Path | bytes) -> str:
    """By which git knows small ones."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _below(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Tell in our words what the hub's client raises."""
    errors = needed("huggingface_hub.errors", _EXTRA)
    try:
        yield
    except (errors.HTTPError, errors.OfflineModeIsEnabled, ValueError, RuntimeError) as error:
        causes = [error] if error.__cause__ is None else [error, error.__cause__]  # an upload's is told by its cause
        said = " ".join(" ".join(str(cause).split()) or type(cause).__name__ for cause in causes)
        raise PushFailed(f"{what}: {said}") from error
