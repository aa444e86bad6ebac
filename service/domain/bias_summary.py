"""The few numbers of the bias statistics that a table of results shows."""

from __future__ import annotations

from prolu.spec.report import BiasStatistics


def summarise(statistics: BiasStatistics) -> dict[str, float]:
    """Give fractions and moments of b_enc over all latents; what is null there is left out."""
    everything = statistics.all
    numbers = {
        "fraction_negative": everything.fraction_negative,
        "fraction_zero": everything.fraction_zero,
        "fraction_positive": everything.fraction_positive,
        "mean": everything.bias.mean,
        "std": everything.bias.std,
        "min": everything.bias.min,
        "max": everything.bias.max,
        "median": everything.bias.quantiles.get("0.5"),
    }
    return {name: number for name, number in numbers.items() if number is not None}
