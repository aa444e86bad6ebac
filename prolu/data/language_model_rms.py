"""Measure the scale of a language model's training activations, alike whether they are stored or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float
from torch import Tensor

from prolu.data.cache_entry import Entry
from prolu.data.extraction import Layout, kept_rows
from prolu.data.language_model import LanguageModel
from prolu.data.permutation import permute
from prolu.data.progression import Progression
from prolu.data.rms import rms_of_batches
from prolu.data.rows import Rows
from prolu.data.source import Notify, ShouldStop
from prolu.data.tokenised import Contexts
from prolu.spec.data import LanguageModelData

# Rows that are looked at; streaming runs the model for them, half a minute on a CPU.
_ENOUGH_ROWS = 32_768


def training_rms(
    entry: Entry,
    spec: LanguageModelData,
    layout: Layout,
    contexts: Contexts,
    *,
    stored: Rows | None,
    model: Callable[[], LanguageModel],
    notify: Notify,
    should_stop: ShouldStop,
    enough_rows: int = _ENOUGH_ROWS,
) -> float:
    """Return sqrt(mean ||x||^2 / d_in) over training activations as they are stored: measured once, kept with the entry.

    Of more than 32,768 rows, it is over those of randomly chosen forward passes of the extraction that have at least so many
    together. The choice depends on the number of contexts alone, and the same contexts in one pass give the same bits, so
    `cached` and `streaming` have one rms. `stored` are the training rows, or None, whereupon the model runs.
    """
    kept = entry.note("rms")
    if isinstance(kept, dict) and isinstance(kept.get("rms"), float):
        return float(kept["rms"])
    chosen = _chosen(layout, contexts, enough_rows)
    progress = Progression("extracting", sum(_rows(contexts, each) for each in chosen), notify, should_stop)
    ends = np.cumsum(contexts.rows)

    def batches() -> Iterator[Float[Tensor, "rows d_in"]]:
        for each in chosen:
            progress.within(0)
            if stored is None:
                yield kept_rows(model(), contexts.take(np.array(each)), spec).float()
            else:
                stop = int(ends[each.stop - 1])
                yield stored.gather(np.arange(stop - _rows(contexts, each), stop))
            progress.finish(_rows(contexts, each))

    rms = rms_of_batches(batches())
    entry.keep("rms", {"rms": rms})
    return rms


def _chosen(layout: Layout, contexts: Contexts, enough_rows: int) -> list[range]:
    """Choose forward passes of the extraction in a pseudo-random order until they have enough rows."""
    per_shard = len(layout.passes(range(layout.contexts_per_shard)))
    whole, rest = divmod(len(contexts), layout.contexts_per_shard)
    count = whole * per_shard + len(layout.passes(range(rest)))
    chosen: list[range] = []
    rows = 0
    while rows < enough_rows and len(chosen) < count:
        [number] = permute(np.array([len(chosen)]), count, seed=0, number=0)
        start = int(number) // per_shard * layout.contexts_per_shard
        shard = range(start, min(start + layout.contexts_per_shard, len(contexts)))
        chosen.append(layout.passes(shard)[int(number) % per_shard])
        rows += _rows(contexts, chosen[-1])
    return chosen


def _rows(contexts: Contexts, numbers: range) -> int:
    return int(contexts.rows[numbers.start : numbers.stop].sum())
