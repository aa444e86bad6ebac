"""Sparse autoencoders with ProLU and its baselines: what a researcher imports.

Importing `prolu` loads neither torch nor ray; `prolu.models`, `prolu.training`, `prolu.analysis`
and `prolu.data` load torch when they are imported.
"""

__version__ = "0.1.0"
