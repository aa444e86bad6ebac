"""One training run, the unit that is queued, trained, checkpointed and queried."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from prolu.spec.base import Spec, Version, digest_of, refusal
from prolu.spec.data import DataSpec
from prolu.spec.resources import ResourcesSpec
from prolu.spec.sae import SaeSpec
from prolu.spec.sparsity import L0, NoPenalty, SparsitySpec
from prolu.spec.text import Name
from prolu.spec.training import TrainingSpec

ExportFormat = Literal["sae_lens", "dictionary_learning"]


class RunSpec(Spec):
    """A complete description of one run; equal digests train equal weights on equal hardware."""

    version: Version = 1
    """Version of the job language; 1 is the default and the only one."""
    name: Name = ""
    """Label for people, at most 200 characters, by default empty; not part of the digest."""
    data: DataSpec
    """Where activations come from."""
    sae: SaeSpec
    """The autoencoder."""
    sparsity: SparsitySpec
    """The sparsity penalty."""
    training: TrainingSpec
    """The training loop."""
    resources: ResourcesSpec = ResourcesSpec()
    """What the run asks of the cluster; by default one CPU core."""
    exports: list[ExportFormat] = []
    """Other libraries' formats in which the final checkpoint is written too; by default none, `prolu export` converts later."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        self._norms_agree()
        self._sparsity_suits()
        if self.training.gradient_alignment is not None and self.sae.kind not in ("prolu", "prolu_hybrid"):
            raise refusal(
                f"compares estimators of ProLU, and sae.kind is {self.sae.kind!r}; leave it out or train prolu",
                "training",
                "gradient_alignment",
            )
        return self

    def _norms_agree(self) -> None:
        if self.sae.decoder_norm == "unit" and self.sae.decoder_init_norm != 1.0:
            raise refusal(
                f"is {self.sae.decoder_init_norm:g}, but sae.decoder_norm 'unit' keeps every row at norm 1; "
                "leave it at 1 or choose decoder_norm: free",
                "sae",
                "decoder_init_norm",
            )

    def _sparsity_suits(self) -> None:
        kind, top_k = self.sae.kind, self.sae.kind in ("topk", "batch_topk", "matryoshka_batch_topk")
        match self.sparsity:
            case NoPenalty() if not top_k:
                why = f"is 'none', but nothing else keeps sae.kind {kind!r} sparse; choose a penalty such as l1"
            case NoPenalty():
                return
            case _ if top_k:
                why = f"is {self.sparsity.kind!r}, but k keeps sae.kind {kind!r} sparse; write sparsity: {{kind: none}}"
            case L0() if kind != "jumprelu":
                why = f"is 'l0', whose gradient is jumprelu's alone, and sae.kind is {kind!r}; choose l1 or jumprelu"
            case sparsity if sparsity.warmup_steps > self.training.steps:
                raise refusal(
                    f"is {sparsity.warmup_steps}, more than the {self.training.steps} steps of the run; "
                    "shorten it or train longer",
                    "sparsity",
                    "warmup_steps",
                )
            case _:
                return
        raise refusal(why, "sparsity", "kind")

    def digest(self) -> str:
        """Return the sha256 of the canonical form: sorted keys, defaults filled in, without the name."""
        return digest_of(self.model_dump(mode="json", exclude={"name"}))

    def data_digest(self) -> str:
        """Return the sha256 of the data part alone: equal digests read equal activations."""
        return digest_of(self.data.model_dump(mode="json"))
