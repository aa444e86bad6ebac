"""What the parts of a run must agree on, said at the field that can be changed."""

from __future__ import annotations

import pytest

from prolu.spec import RunSpec, parse, validate

TOP_K = ["topk", "batch_topk", "matryoshka_batch_topk"]


def _run(sae, sparsity, **training):
    return {
        "data": {"kind": "synthetic"},
        "sae": {"d_sae": 8, **sae},
        "sparsity": sparsity,
        "training": {"steps": 10, **training},
    }


def _top_k(kind):
    return {"kind": kind, "k": 2} | ({"prefixes": [4, 8]} if kind == "matryoshka_batch_topk" else {})


@pytest.mark.parametrize("kind", TOP_K)
def test_a_top_k_kind_pays_no_penalty(kind, mistakes):
    assert mistakes(_run(_top_k(kind), {"kind": "none"})) == []
    assert mistakes(_run(_top_k(kind), {"kind": "l1", "coefficient": 1.0})) == [
        (
            "/sparsity/kind",
            f"sparsity.kind is 'l1', but k keeps sae.kind '{kind}' sparse; write sparsity: {{kind: none}}.",
        )
    ]


@pytest.mark.parametrize("kind", ["relu", "prolu", "prolu_hybrid", "jumprelu", "gated"])
def test_every_other_kind_needs_a_penalty(kind, mistakes):
    assert mistakes(_run({"kind": kind}, {"kind": "l1", "coefficient": 1.0})) == []
    assert mistakes(_run({"kind": kind}, {"kind": "none"})) == [
        (
            "/sparsity/kind",
            f"sparsity.kind is 'none', but nothing else keeps sae.kind '{kind}' sparse; choose a penalty such as l1.",
        )
    ]


def test_only_jumprelu_has_a_gradient_for_the_l0_penalty(mistakes):
    assert mistakes(_run({"kind": "jumprelu"}, {"kind": "l0", "coefficient": 1.0})) == []
    (mistake,) = mistakes(_run({"kind": "prolu"}, {"kind": "l0", "coefficient": 1.0}))
    assert mistake == (
        "/sparsity/kind",
        "sparsity.kind is 'l0', whose gradient is jumprelu's alone, and sae.kind is 'prolu'; choose l1 or jumprelu.",
    )


@pytest.mark.parametrize(
    ("sae", "pointer"),
    [
        ({"kind": "topk", "k": 9}, "/sae/k"),
        ({"kind": "topk", "k": 2, "aux_k": 9}, "/sae/aux_k"),
        ({"kind": "matryoshka_batch_topk", "k": 2, "prefixes": [4, 4, 8]}, "/sae/prefixes"),
        ({"kind": "matryoshka_batch_topk", "k": 2, "prefixes": [4, 7]}, "/sae/prefixes"),
    ],
)
def test_latents_that_are_not_there_are_refused_at_the_field_that_asks_for_them(sae, pointer, mistakes):
    assert [place for place, _ in mistakes(_run(sae, {"kind": "none"}))] == [pointer]


def test_estimators_are_compared_on_prolu_alone(mistakes):
    l1 = {"kind": "l1", "coefficient": 1.0}
    assert mistakes(_run({"kind": "prolu_hybrid"}, l1, gradient_alignment={})) == []
    (mistake,) = mistakes(_run({"kind": "relu"}, l1, gradient_alignment={}))
    assert mistake[0] == "/training/gradient_alignment"


def test_a_controller_begins_with_something_to_multiply(mistakes):
    steered = {"kind": "l1", "controller": {"target_l0": 4.0}}
    assert mistakes(_run({"kind": "prolu"}, {**steered, "coefficient": 1e-4})) == []
    assert mistakes(_run({"kind": "prolu"}, {**steered, "coefficient": 0.0})) == [
        (
            "/sparsity/coefficient",
            "sparsity.coefficient is 0, and a controller only multiplies it; begin with a small one such as 1e-4.",
        )
    ]


def test_every_kernel_and_form_can_be_asked_for():
    for kernel in ["heaviside", "unit", "rectangle", "clamp01", "clamp11", "identity", "exp", "triangle", "gaussian"]:
        for form in ["gate", "product"]:
            estimator = {"kind": "surrogate", "kernel": {"kind": kernel}, "form": form}
            spec = validate(
                _run({"kind": "prolu", "estimator": estimator}, {"kind": "l1", "coefficient": 1.0}), RunSpec
            )
            assert spec.sae.estimator.kernel.kind == kernel  # type: ignore[union-attr]


def test_a_switch_is_true_or_false_and_nothing_else(mistakes):
    run = _run({"kind": "relu"}, {"kind": "l1", "coefficient": 1.0}, **parse("compile: 'yes'"))
    assert [place for place, _ in mistakes(run)] == ["/training/compile"]


@pytest.mark.parametrize("kind", ["l1", "sqrt_l1"])
def test_a_free_decoder_would_cheat_a_penalty_that_does_not_see_its_norms(kind, mistakes):
    (mistake,) = mistakes(_run({"kind": "relu", "decoder_norm": "free"}, {"kind": kind, "coefficient": 1.0}))
    assert mistake[0] == "/sparsity/kind"
    assert (
        mistakes(_run({"kind": "relu", "decoder_norm": "free"}, {"kind": "l1_decoder_norm", "coefficient": 1.0})) == []
    )


def _controlled(**controller):
    return {"kind": "l1", "coefficient": 1.0, "controller": {"target_l0": 3, **controller}}


def test_a_controller_aims_at_latents_that_are_there(mistakes):
    (mistake,) = mistakes(_run({"kind": "relu"}, _controlled(target_l0=9)))
    assert mistake[0] == "/sparsity/controller/target_l0"


def test_a_controller_that_every_resample_pauses_until_the_next_is_refused(mistakes):
    resampling = {"every_steps": 4, "lr_warmup_steps": 0}
    assert mistakes(_run({"kind": "relu"}, _controlled(pause_steps=3), resampling=resampling)) == []
    (mistake,) = mistakes(_run({"kind": "relu"}, _controlled(pause_steps=4), resampling=resampling))
    assert mistake[0] == "/sparsity/controller/pause_steps"


@pytest.mark.parametrize(
    ("resampling", "field", "sentence"),
    [
        ({"every_steps": 6}, "every_steps", "is 6, and with the 10 steps of the run no resample would come by step 4"),
        ({"every_steps": 10, "until_step": 12}, "every_steps", "is 10, and with the 10 steps of the run no resample"),
        ({"every_steps": 4, "until_step": 3}, "until_step", "is 3, and the first resample would come at step 4"),
        (
            {"every_steps": 2, "lr_warmup_steps": 3},
            "lr_warmup_steps",
            "is 3, but from the first resample on no more than 2",
        ),
        ({"every_steps": 9, "until_step": 9, "lr_warmup_steps": 2}, "lr_warmup_steps", "is 2, but from the first"),
    ],
)
def test_resampling_that_contradicts_itself_or_the_run_is_refused(resampling, field, sentence, mistakes):
    document = _run(
        {"kind": "relu"}, {"kind": "l1", "coefficient": 1.0}, resampling={"lr_warmup_steps": 0, **resampling}
    )
    ((pointer, said),) = mistakes(document)
    assert pointer == f"/training/resampling/{field}"
    assert said.startswith(f"training.resampling.{field} {sentence}")


@pytest.mark.parametrize(
    "resampling",
    [
        {"every_steps": 5, "lr_warmup_steps": 5},
        {"every_steps": 9, "until_step": 9, "lr_warmup_steps": 1},
        {"every_steps": 2, "until_step": 3, "lr_warmup_steps": 8},
        {"every_steps": 3, "until_step": 7, "lr_warmup_steps": 4},
    ],
)
def test_resampling_that_comes_once_and_lets_the_rate_rise_again_is_let_through(resampling, mistakes):
    document = _run({"kind": "relu"}, {"kind": "l1", "coefficient": 1.0}, resampling=resampling)
    assert mistakes(document) == []


def test_ranks_divide_the_batch_and_have_whole_gpus_or_none(mistakes):
    def run(**resources):
        return _run({"kind": "relu"}, {"kind": "l1", "coefficient": 1.0}, batch_size=12) | {"resources": resources}

    for fine in ({"ranks": 3}, {"ranks": 3, "gpus": 1}, {"ranks": 1, "gpus": 0.5}):
        assert mistakes(run(**fine)) == []
    ((place, _),) = mistakes(run(ranks=5))
    assert place == "/resources/ranks"
    assert mistakes(run(ranks=3, gpus=0.5)) == [
        (
            "/resources/gpus",
            (
                "resources.gpus is 0.5, a share of a GPU, and 3 ranks exchange by NCCL, which wants a whole one for each; "
                "choose 1, 0 for the CPU, or resources.ranks: 1."
            ),
        )
    ]
