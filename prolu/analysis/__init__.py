"""What people ask of a trained autoencoder.

metrics               l0, l1, mse, fvu, cosine, shrinkage over any number of batches; dead latents
evaluation            all held-out metrics of an autoencoder on a source
cross_entropy         what a language model loses by the reconstruction
recovery              how much of a known dictionary the decoder holds
density               how often latents fire
bias_stats            the distribution of the gate's biases
recompute             the same from a checkpoint's files
descent               directions that estimators are held against
gradient_alignment    where the update of each estimator points
frontier              families compared by the area under L0 against score
"""

from prolu.analysis.bias_stats import bias_statistics
from prolu.analysis.density import density_histogram, firing_frequencies
from prolu.analysis.evaluation import evaluate
from prolu.analysis.frontier import area_over_seeds, area_under_frontier, common_range
from prolu.analysis.gradient_alignment import gradient_alignment
from prolu.analysis.metrics import MetricSums, dead_fraction, dead_latents
from prolu.analysis.recompute import recompute_bias_statistics

__all__ = [
    "MetricSums",
    "area_over_seeds",
    "area_under_frontier",
    "bias_statistics",
    "common_range",
    "dead_fraction",
    "dead_latents",
    "density_histogram",
    "evaluate",
    "firing_frequencies",
    "gradient_alignment",
    "recompute_bias_statistics",
]
