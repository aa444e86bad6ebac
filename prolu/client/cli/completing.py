"""What the shell offers for a half-typed word: ids, states, presets, paths of the filter language.

What the service must be asked for is asked once, for a second at most; whatever goes wrong, nothing is offered and nothing said,
since nobody who presses Tab wants to read of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, get_args

from prolu.client.client import Client
from prolu.client.errors import ConnectionFailed, ProluError
from prolu.client.wire import RunState, RunSummary, SweepRead

Offer = tuple[str, str]

_Found = TypeVar("_Found")
_PATIENCE_SECONDS = 1.0
_NEWEST = 50
# Paths that a run itself has, and what all others begin with.
OF_RUNS = (
    *(
        "id",
        "name",
        "state",
        "desired_state",
        "owner",
        "sweep_id",
        "point",
        "variant",
        "superseded",
        "tier",
        "priority",
    ),
    *(
        "preemptible",
        "epoch",
        "step",
        "total_steps",
        "failure_class",
        "created_at",
        "started_at",
        "finished_at",
        "digest",
    ),
    *("reused_from", "stopped_early", "tags", "note", "pinned", "archived"),
)
PARTS = ("spec", "set", "metrics", "bias")
_LAST = ("last", "the newest one")
# What a path may stand behind in a filter or in a list of paths.
_LAST_WORD = re.compile(r"[\w.*]*$")
_OF_STATE = re.compile(r'\bstate\s*(?:!?=|IN\s*\((?:[^)]*,)?)\s*"?(\w*)$')


def run_or_sweep(incomplete: str) -> list[Offer]:
    """Offer the newest runs and sweeps by the ends of their ids."""
    return _asked(lambda client: [*_sweeps(client), *_runs(client)], incomplete)


def archived(incomplete: str) -> list[Offer]:
    """Offer the newest runs and sweeps that are in the archive."""

    def ask(client: Client) -> Iterator[Offer]:
        yield from (_named(one) for one in client.sweeps.list(archived=True, limit=_NEWEST) if one.archived)
        yield from map(_named, client.runs.list("archived = true", archived=True, limit=_NEWEST))

    return _asked(ask, incomplete)


def run(incomplete: str) -> list[Offer]:
    """Offer the newest runs."""
    return _asked(_runs, incomplete)


def sweep(incomplete: str) -> list[Offer]:
    """Offer the newest sweeps."""
    return _asked(_sweeps, incomplete)


def node(incomplete: str) -> list[Offer]:
    """Offer the nodes of the cluster."""
    return _asked(lambda client: [(one.name, f"{one.gpus:g} GPUs") for one in client.queue(limit=1).nodes], incomplete)


def state(incomplete: str) -> list[Offer]:
    """Offer the states of runs."""
    return _fitting([(name, "") for name in get_args(RunState)], incomplete)


def preset(incomplete: str) -> list[Offer]:
    """Offer the presets that come with the package; files are the shell's to offer."""
    from prolu.spec import preset_names

    return _fitting([(name, "comes with prolu") for name in preset_names()], incomplete)


def paths(incomplete: str) -> list[Offer]:
    """Offer the paths of the filter language for the last of several, up to the next dot."""
    typed = _LAST_WORD.search(incomplete)
    begun = typed.group() if typed is not None else ""
    before = incomplete.removesuffix(begun)
    return [(before + word, said) for word, said in _next_parts(begun)]


def filter_text(incomplete: str) -> list[Offer]:
    """Offer the states where a state is compared, and paths elsewhere."""
    compared = _OF_STATE.search(incomplete)
    if compared is None:
        return paths(incomplete)
    before = incomplete[: compared.start(1)]
    quote = "" if before.endswith('"') else '"'
    return [(f'{before}{quote}{name}"', "") for name, _ in state(compared.group(1))]


def _runs(client: Client) -> Iterator[Offer]:
    yield _LAST
    yield from map(_named, client.runs.list(limit=_NEWEST))


def _sweeps(client: Client) -> Iterator[Offer]:
    yield _LAST
    yield from map(_named, client.sweeps.list(limit=_NEWEST))


def _named(one: RunSummary | SweepRead) -> Offer:
    said = one.state if isinstance(one, RunSummary) else f"sweep of {one.count} runs"
    name = " ".join(one.name.split()).replace(":", " ")  # a colon ends the word for zsh
    return str(one.id)[-8:], f"{name} ({said})" if name else said


def _next_parts(begun: str) -> list[Offer]:
    """Paths that begin so, up to their next dot: what is offered is short enough to be read."""
    above, dot, _ = begun.partition(".")
    known = [*OF_RUNS, *(f"{part}." for part in PARTS)]
    if dot:
        known = _columns([f"{above}.*"]) if above in PARTS else []
    cut = {begun + _up_to_dot(name[len(begun) :]) for name in known if name.startswith(begun)}
    return [(name, "") for name in sorted(cut)]


def _up_to_dot(rest: str) -> str:
    head, dot, _ = rest.partition(".")
    return head + dot


def _columns(fields: list[str]) -> list[str]:
    return _answer(lambda client: [one.name for one in client.results.query(fields=fields, limit=1).columns])


def _asked(ask: Callable[[Client], Iterable[Offer]], incomplete: str) -> list[Offer]:
    return _fitting(dict.fromkeys(_answer(lambda client: [*ask(client)])), incomplete)


def _fitting(offers: Iterable[Offer], incomplete: str) -> list[Offer]:
    return [offer for offer in offers if offer[0].startswith(incomplete)]


def _answer(ask: Callable[[Client], list[_Found]]) -> list[_Found]:
    """What the service says, which is asked without a second try; nothing where anything goes wrong."""

    def give_up(_seconds: float) -> None:
        raise ConnectionFailed("It has not answered at once; try again.")

    try:
        with Client(timeout_seconds=_PATIENCE_SECONDS, sleep=give_up) as client:
            return ask(client)
    except (ProluError, OSError):
        return []
