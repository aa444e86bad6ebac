from prolu.spec.report import MetricPoint, Progress
from workers.messages import Attempt, Message, read_report
from workers.outbox import Outbox

ATTEMPT = Attempt("run", 1)


def metric(step: int) -> MetricPoint:
    return MetricPoint(split="train", step=step, tokens=step, values={"l0": 1.0})


def progress(done: int) -> Progress:
    return Progress(phase="training", done=done, total=10)


def steps(messages: list[Message]) -> list[int]:
    return [getattr(read_report(message.report), "step", -1) for message in messages]


def test_messages_come_in_order_and_stay_until_they_are_acknowledged():
    outbox = Outbox(ATTEMPT)
    for step in range(3):
        outbox.put(metric(step))
    assert steps(outbox.pending(0)) == [0, 1, 2]
    assert steps(outbox.pending(0)) == [0, 1, 2], "a reply that got lost is repeated"
    assert steps(outbox.pending(2)) == [2]
    assert outbox.pending(3) == []


def test_every_message_names_its_attempt_and_counts_up():
    outbox = Outbox(ATTEMPT)
    outbox.put(metric(1))
    outbox.put(metric(2))
    assert [(message.attempt, message.seq) for message in outbox.pending(0)] == [(ATTEMPT, 1), (ATTEMPT, 2)]


def test_of_progress_that_nobody_heard_only_the_last_is_kept():
    outbox = Outbox(ATTEMPT)
    for done in range(5):
        outbox.put(progress(done))
    assert [read_report(message.report) for message in outbox.pending(0)] == [progress(4)]


def test_progress_that_was_given_out_is_not_changed_under_its_number():
    outbox = Outbox(ATTEMPT)
    outbox.put(progress(1))
    first = outbox.pending(0)
    outbox.put(progress(2))
    both = outbox.pending(0)
    assert both[0] == first[0]
    assert read_report(both[1].report) == progress(2)


def test_a_long_silence_is_told_in_parts():
    outbox = Outbox(ATTEMPT)
    for step in range(1_200):
        outbox.put(metric(step))
    heard: list[int] = []
    ack = 0
    while part := outbox.pending(ack):
        assert len(part) <= 500
        heard += steps(part)
        ack = part[-1].seq
    assert heard == list(range(1_200))
