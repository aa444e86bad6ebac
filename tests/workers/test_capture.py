"""What is logged and printed becomes whole lines, each with its time and level, and holds up nobody."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from prolu.spec.report import LogLines
from workers.capture import CHUNK_BYTES, LIMIT_BYTES, Capture, LogBook, LogHandler, PrintedLines

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
TOKEN = "prolu_" + "Ab1-_" * 8 + "xyz"
log = logging.getLogger("a.library")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Heard:
    """An outbox that keeps what it is given."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.clock = Clock()
        self.book = LogBook(lambda report: self.texts.append(report.text), clock=self.clock)

    def lines(self) -> list[str]:
        """Every line without its time, which must be there."""
        lines = [line for text in self.texts for line in text.split("\n")]
        assert all(re.match(STAMP, line) for line in lines), lines
        return [re.sub(STAMP, "", line, count=1) for line in lines]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def capture(heard: Heard) -> Iterator[Capture]:
    capture = Capture([heard.book], own_process=False)
    capture.begin()
    yield capture
    capture.close(heard.book)


def test_every_line_of_a_record_has_its_time_and_level_and_the_traceback_is_among_them(capture: Capture, heard: Heard):
    try:
        raise ValueError("of no use")
    except ValueError:
        log.exception("it broke at %d", 7)
    capture.close(heard.book)
    lines = heard.lines()
    assert lines[0] == "ERROR a.library: it broke at 7"
    assert lines[1] == "ERROR a.library: Traceback (most recent call last):"
    assert lines[-1] == "ERROR a.library: ValueError: of no use"


def test_chunks_come_once_a_second_at_most(capture: Capture, heard: Heard):
    log.warning("one")
    capture.send()
    log.warning("two")
    heard.clock.now = 0.9
    capture.send()
    assert heard.lines() == ["WARNING a.library: one"]
    log.warning("three")
    heard.clock.now = 1.0
    capture.send()
    assert len(heard.texts) == 2
    assert heard.lines()[1:] == ["WARNING a.library: two", "WARNING a.library: three"]


def test_a_flood_comes_in_chunks_of_bounded_size_without_waiting_for_the_second(capture: Capture, heard: Heard):
    heard.book.send()
    for number in range(1_000):
        log.warning("line %d %s", number, "x" * 50)
    capture.send()
    assert len(heard.texts) > 4
    assert all(len(text.encode()) <= CHUNK_BYTES for text in heard.texts)
    assert len(heard.lines()) == 1_000


def test_what_goes_beyond_the_limit_is_left_out_and_one_line_says_so(capture: Capture, heard: Heard):
    for _ in range(LIMIT_BYTES // 3_000 + 50):
        log.warning("x" * 3_000)
    capture.close(heard.book)
    assert sum(len(text) for text in heard.texts) < LIMIT_BYTES + 200
    said = [line for line in heard.lines() if "the rest is left out" in line]
    assert said == heard.lines()[-1:]


def test_a_long_line_is_shortened_and_a_progress_bar_shows_its_last_state(capture: Capture, heard: Heard):
    log.warning("y" * 10_000)
    log.warning("10 %\r50 %\r100 %")
    capture.close(heard.book)
    long, bar = heard.lines()
    assert long.endswith("yyy… (6,000 characters more)")
    assert bar == "WARNING a.library: 100 %"


def test_text_that_no_database_can_hold_and_secrets_are_replaced(heard: Heard):
    # Past the logger: pytest would send what is logged to another process, and no such text can be sent.
    message = "nul \x00, half \ud800, %s"
    record = log.makeRecord(log.name, logging.WARNING, __file__, 1, message, (TOKEN,), None)
    LogHandler([heard.book]).handle(record)
    heard.book.close()
    assert heard.lines() == ["WARNING a.library: nul �, half ?, …"]


def test_a_record_whose_arguments_do_not_fit_stops_nobody(heard: Heard, capsys: pytest.CaptureFixture[str]):
    handler = LogHandler([heard.book])
    for message, argument in (("%d", "no number"), ("%s", "fine")):
        handler.handle(log.makeRecord(log.name, logging.WARNING, __file__, 1, message, (argument,), None))
    heard.book.close()
    assert "no number" in capsys.readouterr().err
    assert heard.lines() == ["WARNING a.library: fine"]


def test_a_line_belongs_to_the_attempt_of_its_thread_or_to_all_of_them():
    first, second = Heard(), Heard()
    capture = Capture([first.book, second.book], own_process=False)
    capture.begin()

    def work(heard: Heard, name: str) -> None:
        with heard.book.of_this_thread():
            log.warning("mine: %s", name)

    for heard, name in ((first, "first"), (second, "second")):
        thread = threading.Thread(target=work, args=(heard, name))
        thread.start()
        thread.join()
    log.warning("nobody's")
    capture.close(first.book)
    log.warning("after the first")
    capture.close(second.book)
    log.warning("after both")
    assert first.lines() == ["WARNING a.library: mine: first", "WARNING a.library: nobody's"]
    assert second.lines() == [
        "WARNING a.library: mine: second",
        "WARNING a.library: nobody's",
        "WARNING a.library: after the first",
    ]


def test_a_capture_leaves_the_process_as_it_was(heard: Heard):
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    capture = Capture([heard.book], own_process=False)
    capture.begin()
    assert root.handlers != before[0]
    capture.close(heard.book)
    assert (root.handlers, root.level) == before


def test_what_is_logged_while_lines_are_sent_is_neither_lost_nor_a_deadlock(capture: Capture):
    texts: list[str] = []

    def put(report: LogLines) -> None:
        texts.append(report.text)
        if len(texts) == 1:
            book.add("WARNING", "said while sending")

    book = LogBook(put)
    book.add("INFO", "first")
    book.send(all_of_it=True)
    book.close()
    assert [text[25:] for text in texts] == ["INFO first", "WARNING said while sending"]


PRINTING = """
import ctypes, logging, os, sys, warnings
from pathlib import Path
from workers.capture import Capture, LogBook
print("before the attempt")
books = [LogBook(lambda report: said.append(report.text)) for _ in range(1)]
said = []
capture = Capture(books, own_process=True)
capture.begin()
print(":actor_name:of Ray", flush=True)
print("printed", flush=True)
os.write(2, b"by the descriptor\\n")
ctypes.CDLL(None).puts(b"by the C library")
ctypes.CDLL(None).fflush(None)
warnings.warn("mind the gap")
logging.getLogger("prolu.training").info("told")
logging.getLogger("botocore").info("chatter")
print("10 %\\r100 %", flush=True)
print("without an end", end="", flush=True)
capture.close(books[0])
Path(sys.argv[1]).write_text("\\n".join(said))
"""


def test_of_a_process_of_its_own_everything_printed_is_captured_and_still_goes_where_it_went(tmp_path: Path):
    out, err, said = (tmp_path / name for name in ("out", "err", "said"))
    with out.open("wb") as stdout, err.open("wb") as stderr:
        subprocess.run(
            [sys.executable, "-c", PRINTING, str(said)], stdout=stdout, stderr=stderr, check=True, timeout=60
        )
    lines = said.read_text().splitlines()
    assert all(re.match(STAMP, line) for line in lines)
    told = [re.sub(STAMP, "", line, count=1) for line in lines]
    assert {"OUT printed", "ERR by the descriptor", "OUT by the C library", "OUT 100 %", "OUT without an end"} <= {
        *told
    }
    assert "INFO prolu.training: told" in told
    assert any(line.startswith("WARNING py.warnings:") and "mind the gap" in line for line in told)
    assert not [line for line in told if "chatter" in line or "of Ray" in line or "before" in line]
    assert "printed" in out.read_text()
    assert "by the descriptor" in err.read_text()


def test_a_pipe_is_let_alone_since_whoever_writes_to_it_may_have_to_wait():
    reading, writing = os.pipe()
    try:
        assert PrintedLines(writing, "OUT").read() == []
    finally:
        os.close(reading)
        os.close(writing)


def test_a_flood_that_is_printed_is_read_in_parts_and_skipped_once_the_book_is_full(tmp_path: Path):
    with (tmp_path / "out").open("wb") as file:
        printed = PrintedLines(file.fileno(), "OUT")
        file.write(b"z" * 99 + b"\n")
        file.flush()
        assert printed.read() == ["z" * 99]
        for _ in range(30_000):
            file.write(b"z" * 99 + b"\n")
        file.flush()
        assert 9_000 < len(printed.read()) <= 10_000
        printed.skip()
        file.write(b"last\n")
        file.flush()
        assert printed.read() == ["last"]
        printed.close()
        assert printed.read() == []


def test_warnings_stay_errors_in_these_tests():
    with pytest.raises(UserWarning, match="capture"):
        warnings.warn("capture has not switched it off", stacklevel=1)
