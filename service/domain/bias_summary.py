"""The few numbers of the bias statistics that a table of results shows."""

from __future__ import annotations

from prolu.spec.report import BiasPopulation, BiasStatistics


def summarise(statistics: BiasStatistics) -> dict[str, float]:
    """Give fractions and moments of b_enc over all latents; what is null there is left out."""
    return numbers_of(statistics.all)


def numbers_of(population: BiasPopulation) -> dict[str, float]:
    """The same of any set of latents."""
    numbers = {
        "fraction_negative": population.fraction_negative,
        "fraction_zero": population.fraction_zero,
        "fraction_positive": population.fraction_positive,
        "mean": population.bias.mean,
        "std": population.bias.std,
        "min": population.bias.min,
        "max": population.bias.max,
        "median": population.bias.quantiles.get("0.5"),
    }
    return {name: number for name, number in numbers.items() if number is not None}
