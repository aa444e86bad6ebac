"""`prolu track`: runs and sweeps into TensorBoard, MLflow or Weights & Biases."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput
from prolu.client.cli.output import note, out, print_json, short, table, user_text
from prolu.client.cli.references import find
from prolu.client.trackers import Exported, MLflow, TensorBoard, Tracker, WeightsAndBiases

_KINDS = "tensorboard:DIR, mlflow:URI or wandb:[ENTITY/]PROJECT"


def track(
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Runs and sweeps: ids, unique parts of them, or `last`, the default."),
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="TRACKER", help=f"Where to: {_KINDS}.")] = "tensorboard:boards",
    experiment: Annotated[
        str | None, typer.Option(help="MLflow's experiment; by default the sweep's name, or prolu for runs of none.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="With wandb: write files for `wandb sync`, and send nothing.")
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the runs have ended.")] = False,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Between two looks, with --follow.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was exported as JSON.")] = False,
) -> None:
    """Export metrics, bias histograms and specs of runs or sweeps to a tracker; again, and only what is new is added."""
    tracker = tracker_at(to, experiment=experiment, offline=offline)
    with connect() as client:
        things = [find(client, reference)[1] for reference in references or ["last"]]
        with _bar() as show:
            exported = client.track(*things, to=tracker, follow=follow, poll_seconds=every, on_look=show)
    if as_json:
        print_json([{**asdict(one), "run_id": str(one.run_id)} for one in exported])
        return
    rows = [
        (short(one.run_id), f"{one.rows:,}", f"{one.last_step:,}", user_text(one.place or "not begun"))
        for one in exported
    ]
    out().print(table({"run": "left", "new": "right", "to step": "right", "where": "left"}, rows, yields="where"))
    if live := sum(not one.ended for one in exported):
        note(
            f"{live} of {len(exported)} runs have not ended; the same command adds what comes, or --follow waits for it"
        )


def tracker_at(text: str, *, experiment: str | None, offline: bool) -> Tracker:
    """The tracker that `--to` names. Raises BadInput."""
    kind, _, place = text.partition(":")
    if experiment is not None and kind != "mlflow":
        raise BadInput(f"--experiment is MLflow's; got --to {text!r}. Leave it out.")
    if offline and kind != "wandb":
        raise BadInput(f"--offline is of wandb; got --to {text!r}. Leave it out.")
    if place and kind == "tensorboard":
        return TensorBoard(place)
    if place and kind == "mlflow":
        return MLflow(place, experiment=experiment)
    entity, _, project = place.rpartition("/")
    if project and kind == "wandb":
        return WeightsAndBiases(project, entity=entity or None, mode="offline" if offline else None)
    raise BadInput(f"--to must be {_KINDS}; got {text!r}.")


@contextmanager
def _bar() -> Iterator[Callable[[list[Exported]], None]]:
    """A bar of runs that have ended, and of steps that were exported, on a terminal."""
    columns = (TextColumn("exported {task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} runs"))
    bars = Progress(*columns, transient=True, console=Console(stderr=True), disable=not sys.stderr.isatty())
    with bars as progress:
        task = progress.add_task("", total=None)

        def show(exported: list[Exported]) -> None:
            steps = f"{sum(one.rows for one in exported):,} steps"
            ended = sum(one.ended for one in exported)
            progress.update(task, description=steps, total=len(exported), completed=ended)

        yield show
