"""Sparse autoencoders in torch: nonlinearities, their gradients, losses, and weights read back from disk."""

from prolu.models.sae import Sae, build_sae
from prolu.models.saved import CheckpointError, load_sae

__all__ = ["CheckpointError", "Sae", "build_sae", "load_sae"]
