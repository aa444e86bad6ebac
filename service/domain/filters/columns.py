"""Every path that can be asked for, sorted by or shown, and what stands there.

id, name, state, ...           the run itself
spec.sparsity.coefficient      what it trains, defaults filled in
set.sparsity.coefficient       what its sweep (or whoever cloned it) set, apart from what the rest of the sweep has in common
metrics.l0                     final held-out metrics, of a run that succeeded
bias.fraction_negative         b_enc in the last snapshot after the first step
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from prolu.client.wire import DesiredState, RunState, Tier
from prolu.spec.report import FailureClass
from service.domain.filters.mistakes import nearest, quoted
from service.domain.filters.spec_paths import Kind, spec_paths

__all__ = ["BIASES", "METRICS", "Column", "Kind", "Source", "column", "columns", "unknown"]

Source = Literal["run", "spec", "set", "metrics", "bias"]

# By the formulas of `prolu.analysis`; a test holds this list to what an evaluation reports.
METRICS = (
    "l0",
    "l1",
    "mse",
    "fvu",
    "cosine",
    "shrinkage",
    "dead_fraction",
    "ce_loss_score",
    "ce_clean",
    "ce_sae",
    "ce_zero_ablation",
    "kl",
    "mmcs",
    "recovered_fraction",
)
# As `service.domain.bias_summary` names them.
BIASES = ("fraction_negative", "fraction_zero", "fraction_positive", "mean", "std", "min", "max", "median")


@dataclass(frozen=True, slots=True)
class Column:
    """A path and its type."""

    name: str
    """The whole path."""
    kind: Kind
    """What stands there; of a `list` or `mapping` only the presence can be asked for, of `texts` (a list) what it has too."""
    source: Source
    """Where it comes from: the first part of the path, or the run itself."""
    choices: tuple[str, ...] = ()
    """All texts that may stand there, if they are few."""

    @property
    def path(self) -> str:
        """The path below its source: `sparsity.coefficient` of `spec.sparsity.coefficient`."""
        return self.name if self.source == "run" else self.name.partition(".")[2]

    @property
    def is_single(self) -> bool:
        """Whether it is one value, which can be compared, sorted by and shown."""
        return self.kind not in ("texts", "list", "mapping")


_RUN: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "id": ("identity", ()),
    "name": ("text", ()),
    "state": ("text", get_args(RunState)),
    "desired_state": ("text", get_args(DesiredState)),
    "owner": ("text", ()),
    "sweep_id": ("identity", ()),
    "point": ("integer", ()),
    "variant": ("text", ()),
    "superseded": ("boolean", ()),
    "tier": ("text", get_args(Tier)),
    "priority": ("integer", ()),
    "preemptible": ("boolean", ()),
    "epoch": ("integer", ()),
    "step": ("integer", ()),
    "total_steps": ("integer", ()),
    "failure_class": ("text", get_args(FailureClass)),
    "created_at": ("time", ()),
    "started_at": ("time", ()),
    "finished_at": ("time", ()),
    "digest": ("text", ()),
    "reused_from": ("identity", ()),
    "stopped_early": ("text", ()),
    "tags": ("texts", ()),
    "note": ("text", ()),
    "pinned": ("boolean", ()),
    "archived": ("boolean", ()),
}


def column(name: str) -> Column | None:
    """The column of this path, if there is one."""
    return columns().get(name)


@cache
def columns() -> Mapping[str, Column]:
    """All columns by path: of the run first, then of its spec and set, its metrics and its biases."""
    specs = spec_paths()
    found = [Column(name, kind, "run", choices) for name, (kind, choices) in _RUN.items()]
    found += [Column(f"spec.{path}", place.kind, "spec", place.choices) for path, place in specs.items()]
    found += [Column(f"set.{path}", place.kind, "set", place.choices) for path, place in specs.items()]
    found += [Column(f"metrics.{name}", "number", "metrics") for name in METRICS]
    found += [Column(f"bias.{name}", "number", "bias") for name in BIASES]
    return {one.name: one for one in found}


def unknown(path: str) -> str:
    """Say that there is no such path, and which are near: those that end so, or are spelt like it."""
    known = columns()
    ends = [name for name in known if name.endswith(f".{path}") and not name.startswith("set.")][:3]
    if path.lower() in known:
        near = f"; did you mean {path.lower()}?"
    elif ends:
        near = f"; did you mean {' or '.join(ends)}?"
    else:
        near = nearest(path, known)
    return f"{quoted(path)} is not a path{near or '; a path is a column of a run, or begins with spec., set., metrics. or bias.'}"
