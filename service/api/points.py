"""The points of a sweep that came in a body: expanded, and what they name looked up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prolu.spec import Mistake, SpecError, SweepSpec
from service.api.context import Services
from service.api.problems import invalid
from service.domain.expansion import Location, Point, build, expand
from service.domain.memory import check_memory
from service.domain.search import Trial, ask, probes
from service.store import inputs, nodes

# A preview explains so many refusals; each may have taken a look-up.
_MOST_REFUSALS = 50
# And shows so many first points of a search, each of which a sampler has to think about.
_MOST_ASKED_FIRST = 20


def expanded(spec: SweepSpec) -> list[Point]:
    """Give the points of a sweep in order. Raises Invalid, which points into the body's `spec`."""
    try:
        return expand(spec)
    except SpecError as error:
        raise invalid(error.mistakes, "spec") from None


def probed(spec: SweepSpec) -> list[Point]:
    """Give points of a search that are tried for size before it begins; none of any other sweep. Raises Invalid."""
    if spec.search is None:
        return []
    try:
        return probes(spec, spec.search)
    except SpecError as error:
        raise invalid(error.mistakes, "spec") from None


def asked_first(spec: SweepSpec) -> list[Point]:
    """Give points that a search would ask for before it knows any result, at most 20; none of any other sweep. Raises Invalid."""
    if spec.search is None:
        return []
    probed(spec)
    search, trials, points = spec.search, list[Trial](), []
    for number in range(min(search.parallel, search.trials, _MOST_ASKED_FIRST)):
        answer = ask(search, spec.base, trials)
        trials.append(Trial(number, "open", answer.params, answer.distributions, answer.attributes))
        try:
            points.append(build(spec, number, None, answer.settings()))
        except SpecError as error:
            raise invalid(error.mistakes, "spec") from None
    return points


def check_inputs(points: Sequence[Point], services: Services) -> None:
    """Raise Invalid for what is wrong with the first point that would be refused."""
    for point, mistakes in _refused(points, services):
        raise invalid([_placed(point, mistake) for mistake in mistakes], "spec")


def all_refusals(points: Sequence[Point], services: Services) -> list[Mistake]:
    """Say what is wrong with the points, in words of the first that it is wrong with: the first of it, if it is much."""
    found: dict[tuple[Location, str], Mistake] = {}
    for point, mistakes in _refused(points, services):
        for mistake in mistakes:
            placed = _placed(point, mistake)
            found.setdefault((placed.location, mistake.sentence), placed)
        if len(found) >= _MOST_REFUSALS:
            break
    return [Mistake(("spec", *mistake.location), mistake.sentence) for mistake in found.values()][:_MOST_REFUSALS]


def _refused(points: Sequence[Point], services: Services) -> Iterator[tuple[Point, list[Mistake]]]:
    """Look up what the points name, each different thing once, and yield those with something wrong."""
    offers = nodes.believed_nodes(services.database)
    surroundings = services.surroundings.for_one_request()
    for point in points:
        if mistakes := check_memory(point.spec):
            yield point, mistakes
    seen = set()
    for point in points:
        asks = (point.data_digest, point.spec.resources.model_dump_json())
        if asks in seen:
            continue
        seen.add(asks)
        if mistakes := inputs.check(point.spec, surroundings, offers):
            yield point, mistakes


def _placed(point: Point, mistake: Mistake) -> Mistake:
    """Name the point, and the place where the sweep wrote what is wrong with it."""
    return Mistake(point.locate(mistake.location), f"{point}: {mistake.sentence}")
