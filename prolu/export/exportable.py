"""A checkpoint made ready for any layout: its inference, where it comes from, and what no other layout holds."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from prolu.export.portable import Portable, portable
from prolu.export.report import ExportError
from prolu.models.sae import Sae
from prolu.models.saved import CheckpointConfig
from prolu.spec.sae import BatchTopKSae, MatryoshkaBatchTopKSae, TopKSae


@dataclass(frozen=True)
class Exportable:
    """What a layout is written from."""

    inference: Portable
    """The autoencoder, in the space that the run trained in; decoder rows of norm 1 where that changes no x_hat."""
    config: CheckpointConfig
    """The run."""
    positive_biases: int
    """ProLU biases above 0."""
    rms: float | None
    """Scale of the activations to fold into the weights, for `dataset_rms`."""

    def notes(self) -> list[str]:
        """Return the sentences that hold for every layout."""
        notes = []
        if self.positive_biases:
            notes.append(
                f"{self.positive_biases} of {self.inference.d_sae} biases are above 0. A ProLU gate treats them as 0, so the "
                "export is exact, but a threshold cannot carry their values; they are in the checkpoint's own sae.safetensors."
            )
        if self.config.spec.sae.decoder_norm == "free":
            notes.append(
                "Decoder rows are scaled to norm 1, and the acts of each latent by the norm that its row had."
                if _can_fold(self.config)
                else "Decoder rows keep their norms: with rows of norm 1, others would be the largest acts."
            )
        return notes

    def provenance(self) -> dict[str, str | int]:
        """Return what a layout's free fields say of the run."""
        return {
            "kind": self.config.spec.sae.kind,
            "run_digest": self.config.spec.digest(),
            "step": self.config.step,
            "tokens": self.config.tokens,
            "positive_biases": self.positive_biases,
        }


def exportable(sae: Sae, config: CheckpointConfig) -> Exportable:
    """Return `sae` ready for export. Raises ExportError if the scale of its activations is not known, or 0."""
    positive = int((sae.gate_bias > 0).sum()) if config.spec.sae.kind == "prolu" else 0
    rms = config.input_rms if config.spec.data.normalisation == "dataset_rms" else None
    if config.spec.data.normalisation == "dataset_rms" and not rms:
        raise ExportError(
            f"The run normalised its activations by their rms, which config.json gives as {rms}; it cannot be folded into the "
            "weights. Take a checkpoint whose config.json has input_rms."
        )
    if config.spec.sae.decoder_norm == "free" and _can_fold(config):
        sae = copy.deepcopy(sae)
        sae.fold_decoder_norm()
    return Exportable(portable(sae), config, positive, rms)


def _can_fold(config: CheckpointConfig) -> bool:
    return not isinstance(config.spec.sae, TopKSae | BatchTopKSae | MatryoshkaBatchTopKSae)
