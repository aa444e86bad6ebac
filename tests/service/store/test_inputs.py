"""What a spec names and asks for is looked up at submission, and every mistake is said at once."""

from __future__ import annotations

from typing import Any

from prolu.client.wire import NodeRead
from prolu.spec import RunSpec
from service.store.inputs import check
from service.store.surroundings import Surroundings
from tests.service.store.named import language_model, only
from tests.service.store.specs import DOCUMENT


def test_synthetic_data_names_nothing(where: Surroundings) -> None:
    assert check(RunSpec.model_validate(DOCUMENT), where, []) == []


def test_every_mistake_is_said_at_once(where: Surroundings) -> None:
    spec = language_model(block=99, corpus={"kind": "text", "path": "nowhere"})
    assert [mistake.pointer for mistake in check(spec, where, [])] == ["/data/block", "/data/corpus/path"]


def test_resources_are_held_to_the_largest_node(where: Surroundings) -> None:
    nodes = [
        NodeRead(name="cpu", cpus=64, gpus=0, memory_gb=256),
        NodeRead(name="gpu", cpus=8, gpus=1, memory_gb=32),
    ]

    def asks(**resources: Any) -> RunSpec:
        return RunSpec.model_validate({**DOCUMENT, "resources": resources})

    assert check(asks(cpus=64), where, nodes) == []
    assert check(asks(cpus=640), where, []) == []
    mistake = only(asks(cpus=65), where, nodes)
    assert mistake.sentence == (
        "resources.cpus is 65, but no node of the cluster has more than 64 (cpu); ask for less or add a node."
    )
    assert only(asks(gpus=1.0), where, nodes[:1]).pointer == "/resources/gpus"
    assert only(asks(gpus=1.0, cpus=16), where, nodes).pointer == "/resources"
