"""Open whatever source of activations a spec describes."""

from __future__ import annotations

from collections.abc import Callable

from prolu.data.places import Places
from prolu.data.shards import open_shards
from prolu.data.source import ActivationSource
from prolu.data.synthetic import SyntheticSource
from prolu.spec.data import DataSpec, LanguageModelData, ShardsData, SyntheticData
from prolu.spec.report import Progress


def open_source(
    spec: DataSpec, *, places: Places, notify: Callable[[Progress], None], should_stop: Callable[[], bool]
) -> ActivationSource:
    """Return the source that `spec` describes, after whatever preparation it takes.

    `notify` hears of the preparation. Raises DataError if the data cannot be had, Interrupted once `should_stop` is true.
    """
    match spec:
        case SyntheticData():
            return SyntheticSource(spec)
        case ShardsData():
            return open_shards(spec, places, notify=notify, should_stop=should_stop)
        case LanguageModelData():
            # Imported here: transformers takes seconds to load, and the other sources do without it.
            from prolu.data.activations import open_language_model

            return open_language_model(spec, places, notify=notify, should_stop=should_stop)
