"""`prolu submit`, `prolu sweep`, `prolu schema`: jobs go in."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from prolu.client.cli import completing
from prolu.client.cli.connecting import connect
from prolu.client.cli.documents import BadInput, check, find_preset, placed, read_document
from prolu.client.cli.output import note, out, print_json, short, table, user_text
from prolu.client.cli.watching import wait_for_run, wait_for_sweep, watch_run, watch_sweep
from prolu.client.client import Client
from prolu.client.wire import SweepPreview, SweepRead, Tier
from prolu.spec import RunSpec, SweepSpec, is_sweep, json_schema, unused_grids, with_preset

File = Annotated[str, typer.Argument(metavar="FILE", help="YAML or JSON file; - reads standard input.")]
Priority = Annotated[int, typer.Option(min=0, max=100, help="Higher goes first.")]
TierOf = Annotated[Tier, typer.Option("--tier", help="Goes before priority; high is for administrators.")]
Preemptible = Annotated[
    bool, typer.Option("--preemptible", help="It may be stopped and put back into the queue to make room for others.")
]
PresetOf = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        autocompletion=completing.preset,
        help="Size it by a preset: `post`, the ProLU post's own size, or a YAML file.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reuse = Annotated[
    bool, typer.Option("--reuse", help="Refer to identical finished runs, where there are any; train only the others.")
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it until it ends.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when it has ended, as `prolu wait` does.")]


def submit(
    file: File,
    priority: Priority = 50,
    tier: TierOf = "normal",
    preemptible: Preemptible = False,
    reuse: Reuse = False,
    watch: Watch = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Put one run into the queue."""
    document = read_document(file)
    if is_sweep(document):
        raise BadInput(f"{file} is a sweep (it has a base); submit it with `prolu sweep {file}`.")
    spec = check(document, RunSpec, file)
    with connect() as client:
        run = client.runs.submit(spec, priority=priority, tier=tier, preemptible=preemptible, reuse=reuse)
        if as_json and not wait:
            print_json(run)
        elif run.reused_from is not None:
            note(f"run {run.id} refers to the finished run {run.reused_from}; nothing is trained")
        else:
            note(f"run {run.id} is queued; follow it with: prolu watch {short(run.id)}")
        if watch:
            watch_run(client, run.id, as_json=as_json)
        elif wait:
            wait_for_run(client, run.id, as_json=as_json)


def sweep(
    file: File,
    preset: PresetOf = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show the runs, and why they would be refused; submit nothing.")
    ] = False,
    priority: Priority = 50,
    tier: TierOf = "normal",
    preemptible: Preemptible = False,
    reuse: Reuse = False,
    watch: Watch = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Put every run of a sweep into the queue."""
    spec = _sweep_of(file, preset)
    with connect() as client:
        if preview:
            _preview(client, spec, as_json=as_json)
            return
        submitted = client.sweeps.submit(spec, priority=priority, tier=tier, preemptible=preemptible, reuse=reuse)
        if as_json and not wait:
            print_json(submitted)
        else:
            note(f"{_taken(submitted)}; follow it with: prolu watch {short(submitted.id)}")
            if submitted.reusable:
                note(f"{submitted.reusable} of them are finished elsewhere; --reuse would not train those again")
        if watch:
            watch_sweep(client, submitted.id, as_json=as_json)
        elif wait:
            wait_for_sweep(client, submitted.id, as_json=as_json)


def preview(file: File, preset: PresetOf = None, as_json: AsJson = False) -> None:
    """Show what a sweep would submit: its points, how many, which are finished elsewhere, and why it would be refused."""
    spec = _sweep_of(file, preset)
    with connect() as client:
        _preview(client, spec, as_json=as_json)


def _sweep_of(file: str, preset: str | None) -> SweepSpec:
    """Read a sweep, sized by a preset if one is named. Raises BadInput."""
    document = read_document(file)
    if isinstance(document, dict) and not is_sweep(document):
        raise BadInput(f"{file} is a single run (it has no base); submit it with `prolu submit {file}`.")
    if preset is not None and isinstance(document, dict):
        document = _sized(document, preset)
    return check(document, SweepSpec, file)


def _taken(sweep: SweepRead) -> str:
    """What a sweep came to, in words."""
    if sweep.search is not None:
        return f"sweep {sweep.id} searches with {sweep.search.trials} trials"
    referring = f", {sweep.reused} of which refer to finished ones" if sweep.reused else ""
    return f"sweep {sweep.id} with {sweep.count} runs{referring} is queued"


def _sized(document: dict[str, Any], source: str) -> dict[str, Any]:
    preset = find_preset(source)
    if unused := unused_grids(document, preset):
        grids = ", ".join(f"{name} ({', '.join(preset.grids[name])})" for name in unused)
        note(f"--preset {source}: none of its grids fits what an alternative of the sweep varies; not used: {grids}")
    return with_preset(document, preset)


def schema(
    which: Annotated[Literal["run", "sweep"], typer.Argument(help="Which of the two.")] = "run",
) -> None:
    """Print the JSON Schema of a run or a sweep, for editors and other languages."""
    print_json(json_schema()[which])


def _preview(client: Client, spec: SweepSpec, *, as_json: bool) -> None:
    """Show the preview of a sweep. Raises BadInput where the service would refuse it."""
    previewed = client.sweeps.preview(spec)
    _show_preview(previewed, as_json=as_json)
    if previewed.refusals:
        raise BadInput("this service would refuse the sweep today:", *map(placed, previewed.refusals))


def _show_preview(preview: SweepPreview, *, as_json: bool) -> None:
    if as_json:
        print_json(preview)
        return
    rows = [
        (
            str(point.point),
            user_text(point.name),
            ", ".join(f"{name}={json.dumps(value)}" for name, value in point.set.items()),
        )
        for point in preview.points
    ]
    out().print(table({"#": "right", "name": "left", "sets": "left"}, [(a, b, user_text(c)) for a, b, c in rows]))
    first = f", of which it asks for these {len(rows)} first" if len(rows) < preview.count else ""
    reusable = f", {preview.reusable} finished elsewhere (--reuse)" if preview.reusable else ""
    note(f"{preview.count} runs{first}{reusable}; nothing was submitted")
