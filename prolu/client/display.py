"""Where bars are shown while something is waited for: on a terminal, in a notebook, or nowhere."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from uuid import UUID

from prolu.client.http import Http
from prolu.client.wire import RunSummary, SeriesRead, SeriesRequest

_NOTEBOOK_WIDTH = 120
_REFRESHES_PER_SECOND = 4
_HTML = '<pre style="white-space:pre;overflow-x:auto;line-height:normal;font-family:monospace">{code}</pre>'

Show = Callable[[Sequence[RunSummary]], None]


@contextmanager
def waiting(http: Http, what: str, how_to_end: str, *, progress: bool) -> Iterator[Show | None]:
    """Show runs while the block waits for them, None unless `progress` and somebody looks; an interrupt says that they go on."""
    try:
        with _shown(http) if progress else _nowhere() as show:
            yield show
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"{what} goes on; {how_to_end} ends it.")
        raise


@contextmanager
def _nowhere() -> Iterator[None]:
    yield None


@contextmanager
def _shown(http: Http) -> Iterator[Show | None]:
    from rich.console import Console  # here, since most who import the client show nothing
    from rich.live import Live

    from prolu.client.progress import Bars

    console = Console(stderr=True)
    bars, latest = Bars(), Latest(http)

    def update(runs: Sequence[RunSummary]) -> None:
        bars.show(runs, latest.of(Bars.chosen(runs)))

    if console.is_jupyter:
        picture = Notebook()

        def show(runs: Sequence[RunSummary]) -> None:
            update(runs)
            picture.show(bars.progress.get_renderable())

        yield show
    elif console.is_terminal and not console.is_dumb_terminal:
        with Live(bars.progress, console=console, refresh_per_second=_REFRESHES_PER_SECOND):
            yield update
    else:
        yield None


class Latest:
    """The last L0 and FVU of runs that train, asked for from where the last answer ended."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._values: dict[UUID, dict[str, float]] = {}
        self._steps: dict[UUID, int] = {}

    def of(self, runs: Sequence[RunSummary]) -> dict[UUID, dict[str, float]]:
        """Value by metric name and run; without those that have measured nothing. Raises what a request raises."""
        going = [run.id for run in runs if run.finished_at is None and run.step > self._steps.get(run.id, 0)]
        if going:
            first = min(self._steps.get(run_id, 0) for run_id in going)
            body = SeriesRequest(run_ids=going, names=["l0", "fvu"], from_step=first, points=5)
            with self._http.patiently():
                found = self._http.post("/v1/results:series", SeriesRead, body)
            for one in sorted(found.series, key=lambda one: one.steps[-1:]):
                for step, value in zip(one.steps, one.values, strict=True):
                    if value is not None:
                        self._values.setdefault(one.run_id, {})[one.name] = value
                        self._steps[one.run_id] = max(step, self._steps.get(one.run_id, 0))
        return self._values


class Notebook:
    """One output of a notebook's cell that is drawn anew; needs IPython alone, which every notebook has, and no widgets."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, renderable: Any) -> None:
        """Draw in the place of what was drawn before."""
        display = import_module("IPython.display").display
        from rich.console import Console

        console = Console(file=io.StringIO(), record=True, width=_NOTEBOOK_WIDTH, force_jupyter=False)
        console.print(renderable)
        text = console.export_text(clear=False)
        html = console.export_html(inline_styles=True, code_format=_HTML)
        bundle = {"text/plain": text, "text/html": html}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
