"""What an actor has to say and nobody has acknowledged yet. One per attempt; safe between two threads."""

from __future__ import annotations

import threading
from collections import deque

from prolu.spec.report import Progress, Report
from workers.messages import Attempt, Message, write_report

_PER_POLL = 500


class Outbox:
    """Keeps reports in order until they are acknowledged, so that a poll that got lost loses nothing."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._lock = threading.Lock()
        self._waiting: deque[tuple[int, Report]] = deque()
        self._seq = 0
        self._polled = 0

    def put(self, report: Report) -> None:
        """Add a report. A progress report replaces one that nobody has been given yet: only the last one counts."""
        with self._lock:
            if isinstance(report, Progress) and self._waiting:
                seq, last = self._waiting[-1]
                if isinstance(last, Progress) and seq > self._polled:
                    self._waiting.pop()
            self._seq += 1
            self._waiting.append((self._seq, report))

    def pending(self, ack: int) -> list[Message]:
        """Forget everything up to `ack` and return what comes next, oldest first, at most 500 messages."""
        with self._lock:
            while self._waiting and self._waiting[0][0] <= ack:
                self._waiting.popleft()
            batch = [self._waiting[index] for index in range(min(_PER_POLL, len(self._waiting)))]
            if batch:
                self._polled = max(self._polled, batch[-1][0])
        return [Message(self._attempt, seq, write_report(report)) for seq, report in batch]
