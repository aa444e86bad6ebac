"""One training run, the unit that is queued, trained, checkpointed and queried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from prolu.spec.agreement import require_agreement
from prolu.spec.base import Spec, Version, digest_of
from prolu.spec.data import DataSpec
from prolu.spec.resources import LimitsSpec, ResourcesSpec
from prolu.spec.sae import SaeSpec
from prolu.spec.sparsity import SparsitySpec
from prolu.spec.text import Name
from prolu.spec.training import TrainingSpec

ExportFormat = Literal["sae_lens", "dictionary_learning"]


# Part, field and default.
_GAINED_LATER = (("resources", "ranks", 1), ("resources", "gpu_type", None))


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
    limits: LimitsSpec = LimitsSpec()
    """How long it may take; not part of the digest. By default as long as the service lets any run."""
    exports: list[ExportFormat] = []
    """Other libraries' formats in which the final checkpoint is written too; by default none, `prolu export` converts later."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        require_agreement(self.sae, self.sparsity, self.training, self.resources)
        return self

    def digest(self) -> str:
        """Return the sha256 of the canonical form: sorted keys, defaults filled in, without the name and the limits.

        What the language gained later counts only where it is not at its default, so that old digests stay what they were.
        """
        return digest_of_document(self.model_dump(mode="json"))

    def data_digest(self) -> str:
        """Return the sha256 of the data part alone: equal digests read equal activations."""
        return digest_of(self.data.model_dump(mode="json"))


def digest_of_document(document: Mapping[str, Any]) -> str:
    """Return the digest of a run from its JSON form, `RunSpec.model_dump(mode="json")`."""
    canonical = {part: value for part, value in document.items() if part not in ("name", "limits")}
    for part, field, default in _GAINED_LATER:
        if canonical[part][field] == default:
            canonical[part] = {name: value for name, value in canonical[part].items() if name != field}
    return digest_of(canonical)
