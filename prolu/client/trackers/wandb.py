"""Weights & Biases: one run per run, whose id there is ours, so that a repeated export finds it.

Online the server tells how far it is. Offline nobody can be asked: a note beside the files of each offline run says it, and
what comes later goes into another folder of the same run, as `wandb sync` wants it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from prolu.client.extras import needed
from prolu.client.trackers.rows import Bins, Row
from prolu.client.trackers.tracker import Book, Subject, final_metrics

_EXTRA = "wandb"
_NOTE = "prolu.json"
_LONGEST_TAG = 64

Mode = Literal["online", "offline"]


class WeightsAndBiases:
    """A project of Weights & Biases, at its server or in files that `wandb sync` sends there later."""

    def __init__(
        self, project: str, *, entity: str | None = None, mode: Mode | None = None, directory: str | Path | None = None
    ) -> None:
        """Nothing is sent yet. What is None is as wandb takes it from its environment: WANDB_ENTITY, WANDB_MODE, WANDB_DIR."""
        self._project = project
        self._entity = entity
        self._mode = mode
        self._directory = None if directory is None else Path(directory).expanduser()

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """Such as where nobody is logged in. Raises MissingPackage."""
        return (needed("wandb", _EXTRA).Error,)

    def open(self, subject: Subject) -> Book:
        """The run there. Raises one of `failures`."""
        wandb = needed("wandb", _EXTRA)
        if self._directory is not None:
            self._directory.mkdir(parents=True, exist_ok=True)
        run = subject.run
        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True, x_disable_meta=True
        )
        opened = wandb.init(
            project=self._project,
            entity=self._entity,
            mode=self._mode,
            dir=self._directory,
            id=run.id.hex,
            resume="allow",
            reinit="create_new",
            name=subject.title,
            group=subject.sweep,
            tags=[tag[:_LONGEST_TAG] for tag in run.tags] or None,
            notes=run.note,
            config={**subject.parameters, **{f"prolu.{name}": value for name, value in subject.lasting_facts.items()}},
            settings=settings,
        )
        return _Run(opened, wandb.Histogram)


class _Run:
    """One run's history and summary."""

    def __init__(self, run: Any, histogram: type[Any]) -> None:
        self._run = run
        self._histogram_type = histogram
        self._folder = Path(run.settings.sync_dir)
        self.place = str(self._folder) if run.offline else str(run.url)
        self.last_step = max(run.step - 1, -1)
        self._told: list[tuple[int, str]] = []
        if run.offline:
            earlier = [
                json.loads(note.read_text()) for note in self._folder.parent.glob(f"offline-*-{run.id}*/{_NOTE}")
            ]
            self.last_step = max((note["last_step"] for note in earlier), default=-1)
            self._told = [(note["last_step"], note["state"]) for note in earlier]

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            histograms = {f"histograms/{name}": self._histogram(bins) for name, bins in row.histograms.items()}
            told = {**row.values, **histograms, "tokens": row.tokens, "_timestamp": row.at.timestamp()}
            self._run.log(told, step=row.step)
            self.last_step = row.step

    def close(self, subject: Subject) -> None:
        self._run.summary.update(final_metrics(subject) | {"state": subject.run.state})
        self._run.finish(exit_code=1 if subject.run.state in ("failed", "cancelled") else 0)
        if not self._run.offline:
            return
        if (self.last_step, subject.run.state) in self._told:
            shutil.rmtree(self._folder)  # it says nothing that an earlier one does not
        else:
            (self._folder / _NOTE).write_text(json.dumps({"last_step": self.last_step, "state": subject.run.state}))

    def _histogram(self, bins: Bins) -> Any:
        return self._histogram_type(np_histogram=(bins.counts, bins.edges))
