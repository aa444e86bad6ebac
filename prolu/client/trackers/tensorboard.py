"""TensorBoard: one event file per run, `DIR/TITLE/events.out.tfevents.TIME.prolu.ID`.

Each row is one event, so it is in the file whole or not at all. The histograms have the service's own bins. The file says
itself how far it is: it is read when it is opened again, and what a broken export left half written is cut off.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from prolu.client.extras import needed
from prolu.client.trackers.rows import Bins, Row
from prolu.client.trackers.tracker import Book, Subject, final_metrics

_EXTRA = "tensorboard"
# A record: its length (8 bytes), the length's checksum (4), the event, its checksum (4).
_LENGTH, _BEFORE, _AFTER = struct.Struct("<Q"), 12, 4
_ENDED = "_hparams_/session_end_info"
_NOT_IN_NAMES = re.compile(r"[^\w.=,+-]+")


class TensorBoard:
    """Event files below a folder, which `tensorboard --logdir` shows."""

    def __init__(self, directory: str | Path) -> None:
        """Nothing is written yet."""
        self._directory = Path(directory).expanduser()

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """None of its own. Raises MissingPackage."""
        needed("tensorboard.summary.writer.record_writer", _EXTRA)
        return ()

    def open(self, subject: Subject) -> Book:
        """The event file of a run. Raises OSError."""
        name = _NOT_IN_NAMES.sub("-", subject.title).strip("-.")
        began = int(subject.run.created_at.timestamp())
        path = self._directory / name / f"events.out.tfevents.{began}.prolu.{subject.run.id}"
        return _EventFile(path, subject)


class _EventFile:
    """One run's file, open for appending."""

    def __init__(self, path: Path, subject: Subject) -> None:
        self._event: type[Any] = needed("tensorboard.compat.proto.event_pb2", _EXTRA).Event
        self._summary: Any = needed("tensorboard.compat.proto.summary_pb2", _EXTRA)
        self.place = str(path)
        self.last_step = -1
        self._ended = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._take_up()
        writer = needed("tensorboard.summary.writer.record_writer", _EXTRA).RecordWriter
        self._records: Any = writer(self._file)
        if self._file.tell() == 0:
            self._begin(subject)

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            event = self._event(wall_time=row.at.timestamp(), step=row.step)
            for name, number in (row.values | {"tokens": row.tokens}).items():
                event.summary.value.add(tag=name, simple_value=number)
            for name, bins in row.histograms.items():
                event.summary.value.add(tag=name, histo=self._histogram(bins))
            self._add(event)
            self.last_step = row.step
        self._file.flush()

    def close(self, subject: Subject) -> None:
        run = subject.run
        if run.finished_at is not None and not self._ended:
            done = self._event(wall_time=run.finished_at.timestamp(), step=run.step)
            for name, number in final_metrics(subject).items():
                done.summary.value.add(tag=name, simple_value=number)
            self._add(done, self._ended_as(run.state == "succeeded", run.finished_at.timestamp()))
        self._file.close()

    def _begin(self, subject: Subject) -> None:
        began = subject.run.created_at.timestamp()
        self._add(self._event(wall_time=began, file_version="brain.Event:2"))
        hyperparameters = needed("tensorboard.plugins.hparams.summary_v2", _EXTRA).hparams_pb
        start = hyperparameters(subject.parameters, trial_id=str(subject.run.id), start_time_secs=began)
        self._add(self._event(wall_time=began), start, self._text("prolu", _about(subject)))

    def _add(self, event: Any, *summaries: Any) -> None:
        for summary in summaries:
            event.summary.MergeFrom(summary)
        self._records.write(event.SerializeToString())

    def _histogram(self, bins: Bins) -> Any:
        """A HistogramProto: its first bin begins at `min`, and every bin ends at its limit."""
        count = sum(bins.counts)
        return self._summary.HistogramProto(
            min=bins.edges[0],
            max=bins.edges[-1],
            num=count,
            sum=count * bins.mean,
            sum_squares=count * bins.mean_square,
            bucket_limit=bins.edges[1:],
            bucket=bins.counts,
        )

    def _ended_as(self, succeeded: bool, at: float) -> Any:
        """What the page of hyperparameters shows as the status."""
        statuses = needed("tensorboard.plugins.hparams.api_pb2", _EXTRA)
        data = needed("tensorboard.plugins.hparams.plugin_data_pb2", _EXTRA)
        metadata = needed("tensorboard.plugins.hparams.metadata", _EXTRA)
        status = statuses.STATUS_SUCCESS if succeeded else statuses.STATUS_FAILURE
        said = data.HParamsPluginData(session_end_info=data.SessionEndInfo(status=status, end_time_secs=at))
        summary = self._summary.Summary()
        summary.value.add(
            tag=metadata.SESSION_END_INFO_TAG,
            metadata=metadata.create_summary_metadata(said),
            tensor=metadata.NULL_TENSOR,
        )
        return summary

    def _text(self, tag: str, markdown: str) -> Any:
        metadata = needed("tensorboard.plugins.text.metadata", _EXTRA).create_summary_metadata(tag, "")
        tensor = needed("tensorboard.util.tensor_util", _EXTRA).make_tensor_proto([markdown.encode()])
        summary = self._summary.Summary()
        summary.value.add(tag=tag, metadata=metadata, tensor=tensor)
        return summary

    def _take_up(self) -> None:
        """Learn how far the file is, and leave it at its end, without what is not whole."""
        whole = 0
        for end, content in _records(self._file):
            whole = end
            event = self._event.FromString(content)
            tags = [value.tag for value in event.summary.value]
            self._ended = self._ended or _ENDED in tags
            if "tokens" in tags:
                self.last_step = event.step
        self._file.truncate(whole)
        self._file.seek(whole)


def _records(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Every whole record of a file, and where it ends."""
    file.seek(0)
    end = 0
    while len(head := file.read(_BEFORE)) == _BEFORE:
        (length,) = _LENGTH.unpack_from(head)
        content = file.read(length + _AFTER)
        if len(content) < length + _AFTER:
            return
        end += _BEFORE + length + _AFTER
        yield end, content[:-_AFTER]


def _about(subject: Subject) -> str:
    """Markdown for the page of texts."""
    lines = [f"**{name}**: {said}" for name, said in subject.lasting_facts.items()]
    if subject.run.tags:
        lines.append(f"**tags**: {', '.join(subject.run.tags)}")
    return "\n\n".join(lines + ([subject.run.note] if subject.run.note else []))
