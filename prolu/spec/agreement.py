"""What the parts of a run must agree on: each refusal stands at the field that can be changed."""

from __future__ import annotations

from prolu.spec.base import refusal
from prolu.spec.resources import ResourcesSpec
from prolu.spec.sae import SaeSpec
from prolu.spec.sparsity import L0, L1, NoPenalty, Penalty, SparsitySpec, SqrtL1
from prolu.spec.training import TrainingSpec

TOP_K = ("topk", "batch_topk", "matryoshka_batch_topk")


def require_agreement(sae: SaeSpec, sparsity: SparsitySpec, training: TrainingSpec, resources: ResourcesSpec) -> None:
    """Raise the refusal of the first thing on which the parts do not agree."""
    _ranks_share(training, resources)
    _norm_suits(sae, sparsity)
    _resampling_fits(training)
    _penalty_suits(sae, sparsity)
    if not isinstance(sparsity, NoPenalty):
        _schedule_fits(sae, sparsity, training)
    if training.gradient_alignment is not None and sae.kind not in ("prolu", "prolu_hybrid"):
        raise refusal(
            f"compares estimators of ProLU, and sae.kind is {sae.kind!r}; leave it out or train prolu",
            "training",
            "gradient_alignment",
        )


def _ranks_share(training: TrainingSpec, resources: ResourcesSpec) -> None:
    if training.batch_size % resources.ranks:
        raise refusal(
            f"is {resources.ranks}, which does not divide training.batch_size ({training.batch_size}) into equal parts; "
            "choose a divisor",
            "resources",
            "ranks",
        )
    if resources.ranks > 1 and 0 < resources.gpus < 1:
        raise refusal(
            f"is {resources.gpus:g}, a share of a GPU, and {resources.ranks} ranks exchange by NCCL, which wants a whole one "
            "for each; choose 1, 0 for the CPU, or resources.ranks: 1",
            "resources",
            "gpus",
        )


def _norm_suits(sae: SaeSpec, sparsity: SparsitySpec) -> None:
    if sae.decoder_norm == "unit" and sae.decoder_init_norm != 1.0:
        raise refusal(
            f"is {sae.decoder_init_norm:g}, but sae.decoder_norm 'unit' keeps every row at norm 1; "
            "leave it at 1 or choose decoder_norm: free",
            "sae",
            "decoder_init_norm",
        )
    if sae.decoder_norm == "free" and isinstance(sparsity, L1 | SqrtL1):
        raise refusal(
            f"is {sparsity.kind!r}, which small acts with long decoder rows cheat when sae.decoder_norm is 'free'; "
            "choose l1_decoder_norm, or decoder_norm: unit",
            "sparsity",
            "kind",
        )


def _penalty_suits(sae: SaeSpec, sparsity: SparsitySpec) -> None:
    match sparsity:
        case NoPenalty() if sae.kind not in TOP_K:
            why = f"is 'none', but nothing else keeps sae.kind {sae.kind!r} sparse; choose a penalty such as l1"
        case NoPenalty():
            return
        case _ if sae.kind in TOP_K:
            why = f"is {sparsity.kind!r}, but k keeps sae.kind {sae.kind!r} sparse; write sparsity: {{kind: none}}"
        case L0() if sae.kind != "jumprelu":
            why = f"is 'l0', whose gradient is jumprelu's alone, and sae.kind is {sae.kind!r}; choose l1 or jumprelu"
        case _:
            return
    raise refusal(why, "sparsity", "kind")


def _resampling_fits(training: TrainingSpec) -> None:
    resampling, place = training.resampling, ("training", "resampling")
    if resampling is None:
        return
    every, until = resampling.every_steps, resampling.until_step
    if until is not None and until < every:
        raise refusal(
            f"is {until}, and the first resample would come at step {every}, every_steps; raise it or resample more often",
            *place,
            "until_step",
        )
    last = training.steps - every if until is None else min(until, training.steps - 1)
    if last < every:
        why = f"is {every}, and with the {training.steps} steps of the run no resample would come"
        rest = f" by step {last}, which leaves the last one every_steps to settle" if until is None else ""
        raise refusal(f"{why}{rest}; resample more often or train longer", *place, "every_steps")
    newest = last // every * every
    longest = max(training.steps - newest, every if newest > every else 0)
    if resampling.lr_warmup_steps > longest:
        raise refusal(
            f"is {resampling.lr_warmup_steps}, but from the first resample on no more than {longest} steps pass until the "
            "next one or the end, so the learning rate would never be itself again; shorten it or resample less often",
            *place,
            "lr_warmup_steps",
        )


def _schedule_fits(sae: SaeSpec, sparsity: Penalty, training: TrainingSpec) -> None:
    if sparsity.warmup_steps > training.steps:
        raise refusal(
            f"is {sparsity.warmup_steps}, more than the {training.steps} steps of the run; shorten it or train longer",
            "sparsity",
            "warmup_steps",
        )
    controller, resampling = sparsity.controller, training.resampling
    if controller is None:
        return
    if controller.target_l0 > sae.d_sae:
        raise refusal(
            f"is {controller.target_l0:g}, more than the {sae.d_sae} latents of sae.d_sae; lower it",
            "sparsity",
            "controller",
            "target_l0",
        )
    if resampling is not None and controller.pause_steps >= resampling.every_steps:
        raise refusal(
            f"is {controller.pause_steps}, so with training.resampling.every_steps {resampling.every_steps} the controller "
            "would never move again after the first resample; shorten it or resample less often",
            "sparsity",
            "controller",
            "pause_steps",
        )
