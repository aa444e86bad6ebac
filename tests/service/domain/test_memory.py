"""What could never fit is refused; what could fit never is."""

from __future__ import annotations

from typing import Any

import pytest

from prolu.spec import RunSpec
from service.domain.memory import GIB, check_memory, least_memory


def run(*, d_in: int = 64, sae: dict[str, Any] | None = None, **more: Any) -> RunSpec:
    document: dict[str, Any] = {
        "data": {"kind": "synthetic", "d_in": d_in},
        "sae": {"kind": "prolu", "d_sae": 512, **(sae or {})},
        "sparsity": {"kind": "l1", "coefficient": 0.001},
        "training": {"steps": 10, "batch_size": 1024, **more.pop("training", {})},
        **more,
    }
    return RunSpec.model_validate(document)


def test_the_parts_of_a_case_worked_by_hand() -> None:
    least = least_memory(run())
    parameters = 64 * 512 + 512 * 64 + 512 + 64
    assert least.weights == least.gradients == 4 * parameters
    assert least.moments == 2 * 4 * parameters
    assert least.activations == 4 * 1024 * 512
    assert least.total == 4 * 4 * parameters + 4 * 1024 * 512


@pytest.mark.parametrize(
    ("kind", "vectors"), [("relu", 1), ("prolu", 1), ("prolu_hybrid", 1), ("jumprelu", 2), ("gated", 3)]
)
def test_the_kind_decides_how_many_vectors_train(kind: str, vectors: int) -> None:
    assert least_memory(run(sae={"kind": kind})).weights == 4 * (2 * 64 * 512 + 64 + vectors * 512)


def test_muon_keeps_one_moment_of_a_matrix() -> None:
    least = least_memory(run(training={"optimizer": {"kind": "muon"}}))
    assert least.moments == 4 * (2 * 64 * 512 + 2 * (64 + 512))


def test_activations_in_bfloat16_are_half_as_large() -> None:
    assert least_memory(run(training={"precision": "bfloat16"})).activations == 2 * 1024 * 512


def test_what_lies_on_the_gpu_is_not_asked_of_the_node() -> None:
    least = least_memory(run(resources={"gpus": 0.5}))
    assert least.total == least.weights


def test_where_only_the_data_knows_its_width_the_activations_alone_count() -> None:
    model = {"kind": "language_model", "model": "gpt2", "block": 6, "tokens": 100, "corpus": {"kind": "python_docs"}}
    least = least_memory(run(data=model))
    assert least.weights == 4 * (3 * 512 + 1)
    assert least.activations == 4 * 1024 * 512


def test_a_run_that_asks_for_too_little_is_told_what_it_takes_and_what_to_do() -> None:
    spec = run(d_in=4096, sae={"d_sae": 65_536}, resources={"memory_gb": 8})
    (mistake,) = check_memory(spec)
    assert mistake.path == "resources.memory_gb"
    assert mistake.sentence == (
        "resources.memory_gb is 8, but training takes at least 8.25 GiB (weights, gradients and moments 8.00, "
        "activations of batch_size 1024 by d_sae 65536 0.25); ask for more, or lower sae.d_sae or training.batch_size."
    )


def test_a_run_that_asks_for_just_enough_passes() -> None:
    least = least_memory(run()).total / GIB
    assert check_memory(run(resources={"memory_gb": least})) == []
    assert check_memory(run(resources={"memory_gb": least * 0.999})) != []


def test_the_size_of_the_post_fits_the_default() -> None:
    post = run(d_in=768, sae={"d_sae": 12_288}, training={"steps": 97_656, "batch_size": 4_096})
    assert check_memory(post) == []
