"""`align`: where the updates of estimators point on the weights of a checkpoint."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from prolu.analysis.gradient_alignment import gradient_alignment
from prolu.models.saved import CheckpointError
from prolu.offline.checkpoints import coefficient_of, open_checkpoint
from prolu.offline.reading import DataDir, DataFile, DataRoots, Hub, open_data
from prolu.spec.base import LARGEST
from prolu.spec.document import parse, validate
from prolu.spec.report import Alignment
from prolu.spec.training import GradientAlignmentSpec


def _weighable(coefficient: float | None) -> float | None:
    """Refuse what no loss can be weighed with. Raises BadParameter."""
    if coefficient is None or 0 <= coefficient <= LARGEST:
        return coefficient
    raise typer.BadParameter(f"must be a number from 0 to {LARGEST:g}; got {coefficient:g}.")


def align(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Folder of a checkpoint: a path or a URL.")],
    estimators: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Such as `ste,relu_like,{kind: surrogate, kernel: {kind: unit}}`."),
    ] = None,
    bandwidths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Widths of the smoothing of l0, such as `0.01,0.1`.")
    ] = None,
    batches: Annotated[int | None, typer.Option(help="Held-out batches to average over.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Activations per batch.")] = None,
    coefficient: Annotated[
        float | None,
        typer.Option(callback=_weighable, help="lambda; by default what the run had come to at this step."),
    ] = None,
    data: DataFile = None,
    data_dir: DataDir = None,
    data_root: DataRoots = None,
    hub: Hub = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the update of each estimator with directions of descent: smoothed L0, reconstruction, L1."""
    spec = _spec(estimators, bandwidths, batches, batch_size)
    opened = open_checkpoint(checkpoint)
    if opened.config is None:
        raise CheckpointError(f"{checkpoint} is SAELens', which has no estimators; take a checkpoint of this software.")
    run = opened.config.spec
    source = open_data(opened, data, data_dir=data_dir, roots=data_root, hub=hub)
    found = gradient_alignment(
        opened.sae,
        source,
        spec,
        sparsity=run.sparsity,
        over=run.training.reconstruction,
        coefficient=coefficient_of(opened) if coefficient is None else coefficient,
    )
    used = max((alignment.cosine.n for alignment in found), default=spec.batches)
    if used < spec.batches:
        were = "was" if used == 1 else "were"
        why = f"the held-out data hold no more of {spec.batch_size} activations."
        typer.echo(f"prolu: {used} of {spec.batches} batches {were} used: {why}", err=True)
    if as_json:
        typer.echo(json.dumps([alignment.model_dump() for alignment in found], allow_nan=False))
        return
    typer.echo(_ROW.format("update of", "toward", "bandwidth", "group", "cosine", "+-", "n", "estimator"))
    for alignment in found:
        typer.echo(_row(alignment))


_ROW = "{:<15}{:<15}{:>10} {:<7}{:>9}{:>9}{:>5}  {}"


def _row(alignment: Alignment) -> str:
    cosine, bandwidth = alignment.cosine, alignment.bandwidth
    return _ROW.format(
        alignment.part,
        alignment.objective,
        "-" if bandwidth is None else f"{bandwidth:g}",
        alignment.group,
        f"{cosine.mean:.4f}",
        "-" if cosine.standard_error is None else f"{cosine.standard_error:.4f}",
        cosine.n,
        alignment.estimator,
    )


def _spec(
    estimators: str | None, bandwidths: str | None, batches: int | None, batch_size: int | None
) -> GradientAlignmentSpec:
    """Return the comparison that the options name, defaults filled in. Raises SpecError."""
    given = {
        "estimators": None if estimators is None else [_named(item) for item in _listed(estimators)],
        "bandwidths": None if bandwidths is None else _listed(bandwidths),
        "batches": batches,
        "batch_size": batch_size,
    }
    return validate({name: value for name, value in given.items() if value is not None}, GradientAlignmentSpec)


def _listed(text: str) -> list[Any]:
    """Read a YAML list, or what stands between commas without its brackets."""
    value = parse(text if text.lstrip().startswith("[") else f"[{text}]")
    return value if isinstance(value, list) else [value]


def _named(item: Any) -> Any:
    """An estimator without settings may be called by its name alone."""
    return {"kind": item} if isinstance(item, str) else item
