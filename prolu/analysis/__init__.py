"""What people ask of a trained autoencoder: metrics, bias statistics, evaluation."""

from prolu.analysis.bias_stats import bias_statistics
from prolu.analysis.evaluation import evaluate
from prolu.analysis.metrics import MetricSums, dead_fraction, dead_latents

__all__ = ["MetricSums", "bias_statistics", "dead_fraction", "dead_latents", "evaluate"]
