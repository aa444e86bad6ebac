"""Measure what a reconstruction costs the language model: cross-entropy on held-out text with it spliced into the forward pass.

With p(t) the model's distribution of the token that follows position t, over the n counted positions:

    ce_clean            -1/n sum_t log p(t)[next token], the model as it is
    ce_sae              the same, with x_hat in place of the activation x at every kept position
    ce_zero_ablation    the same, with 0 in place of x at every kept position
    kl                  1/n sum_t KL(p_clean(t) || p_sae(t)) = 1/n sum_t sum_v p_clean(t)[v] (log p_clean(t)[v] - log p_sae(t)[v])

all in nats per predicted token. The text is the first held-out contexts that keep `ce_tokens` activations, in whole contexts, or
all of them. Positions whose activations are dropped (special tokens, skipped positions, unused ones) stay clean in every pass and
are not counted; a kept position is counted if its context goes on after it. What lies before the hook, the clean predictions and
both fixed cross-entropies are the same for every autoencoder: they are computed once and kept in the cache.

    {cache}/spliced/{digest}/held_out-{number}-{sha256}.npy    (contexts, positions, d_model) of each forward pass: the residual
                                                               stream before the hook, unless it is the first; input of the head

Source: the loss recovered of Bricken et al., "Towards Monosemanticity" (2023), with zero ablation as its lower end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prolu.data.cache_entry import Entry, Opened
from prolu.data.contexts import UNUSED, Codes, token_ids
from prolu.data.language_model import LanguageModel
from prolu.data.locking import only_one
from prolu.data.places import DataError, Places
from prolu.data.progression import Progression
from prolu.data.resuming import ResumableModel
from prolu.data.source import Notify, ShouldStop
from prolu.data.tokenised import Contexts
from prolu.spec.data import LanguageModelData
from prolu.spec.report import Progress

# Changes when the same recipe would give other losses.
_FORMAT = 1
# Each token's logits and their logarithms take a vocabulary of floats, several times over.
_TOKENS_AT_ONCE = {"cpu": 512, "cuda": 2_048}

Reconstruct = Callable[[Float[Tensor, "rows d_in"]], Float[Tensor, "rows d_in"]]


@dataclass(frozen=True)
class SplicedLosses:
    """Means over the counted positions, in nats per predicted token."""

    ce_clean: float
    """Cross-entropy of the model as it is."""
    ce_sae: float
    """Cross-entropy with the reconstruction in place of the activations."""
    ce_zero_ablation: float
    """Cross-entropy with zeros in place of the activations."""
    kl: float
    """KL(clean || spliced)."""
    tokens: int
    """Counted positions."""


class _Text:
    """Some contexts that the model reads at once."""

    def __init__(self, codes: Codes, device: torch.device) -> None:
        # No context is longer than the longest, so what is unused in all of them need not be read.
        codes = codes[:, (codes != UNUSED).any(axis=0)]
        self.tokens: Int[Tensor, "contexts positions"] = torch.from_numpy(token_ids(codes)).to(device)
        self.kept: Bool[Tensor, "contexts positions"] = torch.from_numpy(codes >= 0).to(device)
        goes_on = torch.from_numpy(codes[:, 1:] != UNUSED).to(device)
        self._counted = self.kept[:, :-1] & goes_on
        self._following = self.tokens[:, 1:][self._counted]

    @property
    def count(self) -> int:
        """Counted positions."""
        return len(self._following)

    def log_p(self, logits: Float[Tensor, "contexts positions vocabulary"]) -> Float[Tensor, "counted vocabulary"]:
        """Return the logarithms of the distributions at the counted positions."""
        return torch.log_softmax(logits[:, :-1][self._counted].float(), dim=-1)

    def cross_entropy_sum(self, log_p: Float[Tensor, "counted vocabulary"]) -> float:
        """Return the cross-entropy summed over the counted positions."""
        return float(-log_p.gather(1, self._following.unsqueeze(1)).double().sum())

    def replacing(self, reconstruct: Reconstruct) -> Callable[[Tensor], Tensor]:
        """Return a function that puts the reconstruction in place of a value at its kept positions."""

        def replace(value: Tensor) -> Tensor:
            # OPT's MLP sees (contexts * positions, width).
            spliced = value.reshape(*self.kept.shape, -1).clone()
            spliced[self.kept] = reconstruct(spliced[self.kept]).to(spliced)
            return spliced.reshape(value.shape)

        return replace


class SplicedModel:
    """The language model with its held-out contexts, loaded when it is first asked."""

    def __init__(
        self,
        contexts: Sequence[Codes],
        baseline: Opened,
        *,
        model: Callable[[], LanguageModel],
        notify: Notify,
        should_stop: ShouldStop,
    ) -> None:
        self._contexts = contexts
        self._baseline = baseline
        self._load = model
        self._notify = notify
        self._should_stop = should_stop

    @torch.no_grad()
    def losses(self, reconstruct: Reconstruct) -> SplicedLosses:
        """Return what splicing `reconstruct`, from raw activations to raw activations, does to the model's predictions.

        It is given the kept activations of some contexts, (rows, d_in) float32 on the model's device.
        Runs the blocks after the hook once and the head twice. Raises Interrupted if `should_stop` becomes true meanwhile.
        """
        facts = self._baseline.facts
        progress = Progression("evaluating", facts["tokens"], self._notify, self._should_stop)
        cross_entropy, divergence = 0.0, 0.0
        known = (torch.from_numpy(np.array(part.array)) for part in self._baseline.parts["held_out"])
        for codes in self._contexts:
            progress.within(0)
            text = _Text(codes, self._model.device)
            residual = next(known).to(self._model.device) if facts["resumes"] else None
            head = next(known).to(self._model.device)
            spliced = text.log_p(self._model.resumed(text.tokens, residual, text.replacing(reconstruct)))
            cross_entropy += text.cross_entropy_sum(spliced)
            clean = text.log_p(self._model.predicted(text.tokens, head))
            terms = torch.nn.functional.kl_div(spliced, clean, reduction="none", log_target=True)
            divergence += float(terms.sum(dim=1).double().sum())
            progress.finish(text.count)
        return SplicedLosses(
            ce_clean=facts["ce_clean"],
            ce_sae=cross_entropy / facts["tokens"],
            ce_zero_ablation=facts["ce_zero_ablation"],
            kl=divergence / facts["tokens"],
            tokens=facts["tokens"],
        )

    @functools.cached_property
    def _model(self) -> ResumableModel:
        return ResumableModel(self._load())


def open_spliced(
    spec: LanguageModelData,
    recipe: dict[str, Any],
    held_out: Contexts,
    places: Places,
    *,
    model: Callable[[], LanguageModel],
    notify: Notify,
    should_stop: ShouldStop,
) -> SplicedModel:
    """Return the spliced model of `spec`, after working out what is the same for every autoencoder unless it is in the cache.

    `recipe` is what a value at the hook depends on. Raises DataError if nothing can be counted or spliced, Interrupted if asked
    to stop.
    """
    contexts = _groups(spec, held_out)
    entry = Entry.of(
        recipe | {"spliced_format": _FORMAT, "contexts": sum(map(len, contexts))}, places.cache_dir / "spliced"
    )
    baseline = entry.open(places.cache_dir)
    if baseline is None:
        preparing = Progress(phase="preparing", done=0, total=0)
        with only_one(entry.lock, waiting=lambda: notify(preparing), should_stop=should_stop):
            baseline = entry.open(places.cache_dir)
            if baseline is None:
                _Baseline(entry, contexts, ResumableModel(model()), spec, notify, should_stop).run()
                baseline = entry.open(places.cache_dir)
    if baseline is None:
        raise OSError(f"{entry.folder} does not hold what was just written to it; check the disk of the cache folder")
    return SplicedModel(contexts, baseline, model=model, notify=notify, should_stop=should_stop)


def _groups(spec: LanguageModelData, held_out: Contexts) -> list[Codes]:
    """Return the contexts of each forward pass: the first ones that keep `ce_tokens` activations, or all."""
    enough = int(np.searchsorted(np.cumsum(held_out.rows), spec.ce_tokens)) + 1
    chosen = held_out.take(np.arange(min(enough, len(held_out))))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    at_once = max(1, _TOKENS_AT_ONCE[device] // spec.context_length)
    if not ((chosen[:, :-1] >= 0) & (chosen[:, 1:] != UNUSED)).any():
        raise DataError(
            f"data.ce_tokens is {spec.ce_tokens}, but no held-out context goes on after an activation that is kept, so nothing "
            "is predicted; set it to 0, or make data.context_length longer."
        )
    return [chosen[start : start + at_once] for start in range(0, len(chosen), at_once)]


@dataclass(frozen=True)
class _Baseline:
    """The work of filling one entry with what every autoencoder shares; the caller holds the entry's lock."""

    entry: Entry
    contexts: Sequence[Codes]
    model: ResumableModel
    spec: LanguageModelData
    notify: Notify
    should_stop: ShouldStop

    @torch.no_grad()
    def run(self) -> None:
        self.entry.tidy()
        for path in self.entry.present("held_out"):
            path.unlink()  # of a measurement that was interrupted
        texts = [_Text(codes, self.model.device) for codes in self.contexts]
        count = sum(text.count for text in texts)
        progress = Progression("evaluating", count, self.notify, self.should_stop)
        clean, ablated, resumes = 0.0, 0.0, False
        paths: list[Path] = []
        for text in texts:
            progress.within(0)
            logits, residual, head = self.model.clean(text.tokens)
            clean += text.cross_entropy_sum(text.log_p(logits))
            zeroed = self.model.resumed(text.tokens, residual, text.replacing(torch.zeros_like))
            ablated += text.cross_entropy_sum(text.log_p(zeroed))
            resumes = residual is not None
            for known in (residual, head):
                if known is not None:
                    paths.append(self.entry.write("held_out", len(paths), known.cpu().numpy()))
            progress.finish(text.count)
        facts = {
            "ce_clean": clean / count,
            "ce_zero_ablation": ablated / count,
            "tokens": count,
            "resumes": resumes,
        }
        self.entry.finish({"held_out": paths}, facts)
