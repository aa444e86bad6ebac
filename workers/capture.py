"""What an attempt logs and prints becomes reports of whole lines. Knows neither Ray nor SQL.

    logging, warnings ──> LogHandler ──┐
                                       ├──> LogBook of the attempt ──(at a poll, or at its end)──> its outbox
    what is printed ──> PrintedLines ──┘

Nothing here waits, writes to a pipe or runs a thread of its own, so that training is never held up: a line that is
logged is put on a list, and what is printed is read back at each poll from the files that Ray has the process's
standard output and error go to (so its time is that of the poll). Where they go elsewhere (a terminal, a pipe, a system
without /proc), only what is logged is captured. A line belongs to the attempt in whose thread it was logged; one of
which that is not known (printed, or logged by a library's own thread) belongs to every attempt of the process.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from io import FileIO

from prolu.spec.masking import masked
from prolu.spec.report import LogLines

LIMIT_BYTES = 2_000_000
CHUNK_BYTES = 16_000
CHUNK_SECONDS = 1.0
_LINE_CHARACTERS = 4_000
_READ_BYTES = 1_000_000

# Libraries that tell of each of their steps at `info`.
_CHATTY = ("asyncio", "httpx", "httpcore", "urllib3", "botocore", "aiobotocore", "s3fs", "fsspec", "filelock", "ray")
# What Ray writes into the files for itself.
_OF_RAY = (b":job_id:", b":actor_name:", b":task_name:")


class LogBook:
    """The lines of one attempt: at most 2 MB of them, sent to `put` in chunks of at most 16 kB, once a second or less often.

    Of a gang every rank has its own book, and each line says its `rank`.
    """

    def __init__(
        self,
        put: Callable[[LogLines], None],
        *,
        rank: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._put = put
        self._whose = "" if rank is None else f"[rank {rank}] "
        self._clock = clock
        self._lock = threading.RLock()  # what a finaliser logs while the lock is held comes from the same thread
        self._lines: list[str] = []
        self._waiting_bytes = 0
        self._taken_bytes = 0
        self._sent_at = clock() - CHUNK_SECONDS
        self._full = False
        self.closed = False

    def add(self, level: str, text: str, *, at: datetime | None = None) -> None:
        """Take a text, each line of it with its time and level; nothing once the book is full or closed."""
        prefix = f"{_stamp(at or datetime.now(UTC))} {self._whose}{level} "
        with self._lock:
            for line in _whole_lines(text):
                self._take(prefix + line)

    def send(self, *, all_of_it: bool = False) -> None:
        """Send what waits, if a second has passed since the last time, or so much waits that it is a chunk."""
        with self._lock:
            due = self._clock() - self._sent_at >= CHUNK_SECONDS or self._waiting_bytes >= CHUNK_BYTES
            if not self._lines or not (due or all_of_it):
                return
            lines, self._lines = self._lines, []
            self._waiting_bytes = 0
            self._sent_at = self._clock()
            for chunk in _chunks(lines):
                self._put(LogLines(text=chunk))

    def close(self) -> None:
        """Send the rest, and take nothing more."""
        with self._lock:
            self.send(all_of_it=True)
            self.closed = True

    @property
    def full(self) -> bool:
        """Whether it takes nothing more."""
        return self._full or self.closed

    @contextmanager
    def of_this_thread(self) -> Iterator[None]:
        """Have what this thread logs belong to this attempt alone."""
        before = _current.set(self)
        try:
            yield
        finally:
            _current.reset(before)

    def _take(self, line: str) -> None:
        if self.full:
            return
        size = len(line.encode(errors="replace")) + 1
        if self._taken_bytes + size > LIMIT_BYTES:
            self._full = True
            said = f"WARNING This attempt has logged {LIMIT_BYTES:,} bytes; the rest is left out."
            line = f"{_stamp(datetime.now(UTC))} {self._whose}{said}"
        self._taken_bytes += size
        self._waiting_bytes += size
        self._lines.append(line)


_current: ContextVar[LogBook | None] = ContextVar("prolu_log_book", default=None)


class Capture:
    """Listens to one process for its attempts, from `begin` until the last of their books is closed.

    `own_process` says that the process trains and does nothing else: then its whole logging is set up here, and what it
    prints is captured as well. Otherwise nothing of the process is changed but that its root logger has one handler more.
    """

    def __init__(self, books: Sequence[LogBook], *, own_process: bool) -> None:
        self._books = books
        self._own_process = own_process
        self._handler = LogHandler(books)
        self._printed: list[PrintedLines] = []
        self._reading = threading.Lock()

    def begin(self) -> None:
        """Listen from now on."""
        root = logging.getLogger()
        root.addHandler(self._handler)
        if self._own_process:
            root.setLevel(logging.INFO)
            for chatty in _CHATTY:
                logging.getLogger(chatty).setLevel(logging.WARNING)
            logging.captureWarnings(True)
            self._printed = [PrintedLines(1, "OUT"), PrintedLines(2, "ERR")]

    def send(self) -> None:
        """Have every book send what waits and is due."""
        self._read_what_was_printed()
        for book in self._books:
            book.send()

    def close(self, book: LogBook) -> None:
        """Have a book send everything, and take nothing more."""
        self._read_what_was_printed(to_the_end=True)
        book.close()
        if all(each.closed for each in self._books):
            logging.getLogger().removeHandler(self._handler)
            with self._reading:
                for printed in self._printed:
                    printed.close()

    def _read_what_was_printed(self, *, to_the_end: bool = False) -> None:
        with self._reading:
            for printed in self._printed:
                if all(book.full for book in self._books):
                    printed.skip()
                for line in printed.read(to_the_end=to_the_end):
                    for book in self._books:
                        book.add(printed.level, line)


class LogHandler(logging.Handler):
    """Puts records of `logging` into books. It never writes anywhere, so it cannot hear itself."""

    def __init__(self, books: Sequence[LogBook]) -> None:
        super().__init__()
        self._books = books
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Put a record, with its traceback if it has one, into the book that it belongs to."""
        try:
            text = self._formatter.format(record)
        except Exception:  # the caller's arguments do not fit its message, which is no reason to stop training
            self.handleError(record)
            return
        current = _current.get()
        for book in self._books if current is None else [current] if current in self._books else []:
            book.add(f"{record.levelname} {record.name}:", text, at=datetime.fromtimestamp(record.created, UTC))


class PrintedLines:
    """Reads back what the process writes to a file descriptor, if that is a file: from now on, in whole lines."""

    def __init__(self, descriptor: int, level: str) -> None:
        self.level = level
        self._rest = b""
        self._file = _reopened(descriptor)

    def read(self, *, to_the_end: bool = False) -> list[str]:
        """Give the lines since the last call that are complete, or all, if it is the end; of a flood the first megabyte."""
        if self._file is None:
            return []
        *lines, self._rest = (self._rest + self._file.read(_READ_BYTES)).split(b"\n")
        if to_the_end or len(self._rest) > _LINE_CHARACTERS:  # the latter is a line without an end
            lines, self._rest = [*lines, self._rest], b""
        return [line.decode(errors="replace") for line in lines if line.strip() and not line.startswith(_OF_RAY)]

    def skip(self) -> None:
        """Leave out everything that is written by now."""
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Read no more; the file itself stays open for those who write to it."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _reopened(descriptor: int) -> FileIO | None:
    """The file behind a descriptor of this process, open for reading at its end; None if it is no file, or cannot be read."""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        file = FileIO(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # what was printed before is not the attempts'
    file.seek(0, os.SEEK_END)
    return file


def _whole_lines(text: str) -> Iterator[str]:
    """The lines of a text, each without what was overwritten on the terminal, shortened if need be, and without secrets."""
    for line in text.rstrip("\n").split("\n"):
        shown = line.rstrip("\r\n").rpartition("\r")[2]
        if len(shown) > _LINE_CHARACTERS:
            shown = f"{shown[:_LINE_CHARACTERS]}… ({len(shown) - _LINE_CHARACTERS:,} characters more)"
        yield masked(shown.replace("\x00", "�").encode(errors="replace").decode())


def _chunks(lines: Sequence[str]) -> Iterator[str]:
    """Join lines to texts of at most CHUNK_BYTES; a longer line is a text of its own."""
    chunk: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode()) + 1
        if chunk and size + length > CHUNK_BYTES:
            yield "\n".join(chunk)
            chunk, size = [], 0
        chunk.append(line)
        size += length
    yield "\n".join(chunk)


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
