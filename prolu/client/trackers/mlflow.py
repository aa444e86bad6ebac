"""MLflow: one run of an experiment per run, found again by its tag `prolu.run_id`.

Numbers go in as metrics; MLflow has no histograms, so those of each snapshot become a JSON artifact, `biases/step-N.json`. How
far it is stands in the tag `prolu.last_step`, sent together with what it speaks of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from prolu.client.extras import needed
from prolu.client.trackers.rows import Row
from prolu.client.trackers.tracker import Book, Subject, final_metrics

_EXTRA = "mlflow"
_RUN_ID, _LAST_STEP = "prolu.run_id", "prolu.last_step"
# What the REST API takes in one request, and of one value.
_MOST_METRICS, _MOST_PARAMETERS, _LONGEST_PARAMETER, _LONGEST_TAG = 1000, 100, 6000, 5000
_NOT_IN_NAMES = re.compile(r"[^\w. /-]")


class MLflow:
    """An experiment at a tracking server (`http://...`) or in a local database (`sqlite:///mlflow.db`)."""

    def __init__(self, uri: str, *, experiment: str | None = None) -> None:
        """Nothing is sent yet. `experiment` is by default the name of the sweep, or `prolu` for runs of none."""
        self._uri = uri
        self._experiment = experiment
        self._client: Any = None

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What the service refuses, or does not answer. Raises MissingPackage."""
        return (needed("mlflow", _EXTRA).MlflowException,)

    def open(self, subject: Subject) -> Book:
        """The MLflow run of a run. Raises one of `failures`."""
        if self._client is None:
            self._client = needed("mlflow", _EXTRA).MlflowClient(tracking_uri=self._uri)
        experiment = self._experiment_id(self._experiment or subject.sweep or "prolu")
        there = self._client.search_runs([experiment], f"tags.`{_RUN_ID}` = '{subject.run.id}'", max_results=1)
        if there:
            return _Run(self._client, there[0], self._uri)
        made = self._client.create_run(
            experiment, start_time=_milliseconds(subject.run.created_at), run_name=subject.title, tags=_tags(subject)
        )
        book = _Run(self._client, made, self._uri)
        book.begin(subject)
        return book

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        identity: str = self._client.create_experiment(name) if found is None else found.experiment_id
        return identity


class _Run:
    """One run's metrics, parameters, tags and artifacts."""

    def __init__(self, client: Any, run: Any, uri: str) -> None:
        self._client = client
        self._id: str = run.info.run_id
        self._entities = needed("mlflow.entities", _EXTRA)
        self.place = f"run {self._id} of {uri}"
        self.last_step = int(run.data.tags.get(_LAST_STEP, -1))

    def begin(self, subject: Subject) -> None:
        """Tell the parameters, which never change."""
        parameters = [
            self._entities.Param(_NOT_IN_NAMES.sub("_", name), str(value)[:_LONGEST_PARAMETER])
            for name, value in subject.parameters.items()
        ]
        for first in range(0, len(parameters), _MOST_PARAMETERS):
            self._client.log_batch(self._id, params=parameters[first : first + _MOST_PARAMETERS])

    def write(self, rows: Sequence[Row]) -> None:
        for batch in _batches(rows):
            for row in batch:
                if row.histograms:
                    self._client.log_dict(self._id, asdict(row), f"biases/step-{row.step:08}.json")
            self.last_step = batch[-1].step
            metrics = [
                self._entities.Metric(_NOT_IN_NAMES.sub("_", name), value, _milliseconds(row.at), row.step)
                for row in batch
                for name, value in _numbers(row).items()
            ]
            tags = [self._entities.RunTag(_LAST_STEP, str(self.last_step))]
            self._client.log_batch(self._id, metrics=metrics, tags=tags)

    def close(self, subject: Subject) -> None:
        run = subject.run
        tags = [self._entities.RunTag(name, value) for name, value in _tags(subject).items()]
        metrics = []
        if run.finished_at is not None and not self._is_ended():
            at = _milliseconds(run.finished_at)
            metrics = [
                self._entities.Metric(name, value, at, run.step) for name, value in final_metrics(subject).items()
            ]
        self._client.log_batch(self._id, metrics=metrics, tags=tags)
        if run.finished_at is not None:
            status = {"succeeded": "FINISHED", "cancelled": "KILLED"}.get(run.state, "FAILED")
            self._client.set_terminated(self._id, status, end_time=_milliseconds(run.finished_at))

    def _is_ended(self) -> bool:
        return bool(self._client.get_run(self._id).info.status != "RUNNING")


def _numbers(row: Row) -> dict[str, float]:
    return row.values | {"tokens": row.tokens}


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """As many whole rows at a time as one request takes."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        more = len(_numbers(row))
        if batch and size + more > _MOST_METRICS:
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += more
    if batch:
        yield batch


def _tags(subject: Subject) -> dict[str, str]:
    """Facts under `prolu.`, our tags (`key` or `key:value`) as theirs, and the note where MLflow shows notes."""
    tags = {f"prolu.{name}": value for name, value in subject.facts.items()}
    for tag in subject.run.tags:
        key, _, value = tag.partition(":")
        tags[f"tag.{_NOT_IN_NAMES.sub('_', key)}"] = value
    if subject.run.note:
        tags["mlflow.note.content"] = subject.run.note
    return {name: value[:_LONGEST_TAG] for name, value in tags.items()}


def _milliseconds(moment: Any) -> int:
    return int(moment.timestamp() * 1000)
