"""What a spec names is looked up when it is submitted, so that a misspelt path fails at once and not in the queue.

The workers look again: files may go, and their machines may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prolu.client.wire import NodeRead
from prolu.spec import HubCorpus, LanguageModelData, Mistake, PythonDocsCorpus, ResourcesSpec, RunSpec, ShardsData
from service.domain.planning import Asked, Node, could_ever_fit
from service.store.hub import HubSilent
from service.store.named_files import check_shards, files_of, listed
from service.store.named_models import PACKAGED, check_model
from service.store.surroundings import Surroundings

_TRUST_OR_WAIT = "have the operator set PROLU_HUB=trust to accept it unchecked, or try again later."


def check(spec: RunSpec, where: Surroundings, nodes: Sequence[NodeRead]) -> list[Mistake]:
    """Say what the spec names that is not there, or cannot be checked. Asks the network: never call it inside a transaction."""
    where = where.for_one_request()
    mistakes = check_resources(spec.resources, nodes) + _within_allowance(spec.resources, where.max_gpus_per_user)
    match spec.data:
        case ShardsData():
            mistakes += check_shards(spec.data, where)
        case LanguageModelData():
            mistakes += _model_and_corpus(spec.data, where)
    return mistakes


def check_resources(asked: ResourcesSpec, nodes: Sequence[NodeRead]) -> list[Mistake]:
    """Refuse what the cluster could never hold. Nodes that drain will be back.

    Before it is known, anything goes; so it does where nothing is known but a head that computes nothing.
    """
    nodes = [node for node in nodes if node.cpus > 0 or node.gpus > 0]
    wanted = Asked(asked.cpus, asked.gpus, asked.memory_gb, asked.ranks, asked.gpu_type)
    offered = [Node(node.name, node.cpus, node.gpus, node.memory_gb, node.gpu_type) for node in nodes]
    if not nodes or could_ever_fit(wanted, offered):
        return []
    of_type = [node for node in nodes if asked.gpu_type in (None, node.gpu_type)]
    if not of_type:
        known = ", ".join(sorted({node.gpu_type for node in nodes if node.gpu_type}))
        there = f"there is {known}. Ask for one of these, leave" if known else "no GPU there has a known type. Leave"
        sentence = f"resources.gpu_type is {asked.gpu_type!r}, and no node has it; {there} gpu_type out, or add a node."
        return [Mistake(("resources", "gpu_type"), sentence)]
    mistakes = [mistake for field, offer in _OFFERS.items() for mistake in _more_than_any(field, offer, asked, of_type)]
    return mistakes or [_together(asked, of_type)]


def _within_allowance(asked: ResourcesSpec, most: float | None) -> list[Mistake]:
    """Refuse what one user may never hold: it would wait for ever."""
    gpus = asked.gpus * asked.ranks
    if most is None or gpus <= most:
        return []
    sentence = (
        f"resources asks for {gpus:g} GPUs, and one user may hold {most:g} at once; ask for less, or have the operator raise "
        "PROLU_MAX_GPUS_PER_USER."
    )
    return [Mistake(("resources", "gpus"), sentence)]


_OFFERS: dict[str, Callable[[NodeRead], float]] = {
    "gpus": lambda node: node.gpus,
    "cpus": lambda node: node.cpus,
    "memory_gb": lambda node: node.memory_gb,
}


def _more_than_any(
    field: str, offer: Callable[[NodeRead], float], asked: ResourcesSpec, nodes: Sequence[NodeRead]
) -> list[Mistake]:
    largest = max(nodes, key=offer)
    wanted = getattr(asked, field)
    if wanted <= offer(largest):
        return []
    sentence = (
        f"resources.{field} is {wanted:g}, but no node of the cluster has more than {offer(largest):g} "
        f"({largest.name}); ask for less or add a node."
    )
    return [Mistake(("resources", field), sentence)]


def _together(asked: ResourcesSpec, nodes: Sequence[NodeRead]) -> Mistake:
    largest = max(nodes, key=lambda node: (node.gpus, node.cpus, node.memory_gb))
    offers = (
        f"the largest, {largest.name}, has {largest.cpus:g} CPUs, {largest.gpus:g} GPUs and {largest.memory_gb:.1f} GiB"
    )
    if asked.ranks > 1:
        sentence = (
            f"resources.ranks is {asked.ranks}, and all nodes together cannot hold so many at once; {offers}. "
            "Ask for fewer or smaller ranks, or add nodes."
        )
        return Mistake(("resources", "ranks"), sentence)
    return Mistake(("resources",), f"No single node has all of resources; {offers}. Ask for less or add a node.")


def _model_and_corpus(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    """Check both, but ask a hub that has failed for one of them nothing more."""
    try:
        mistakes = check_model(data, where)
    except HubSilent as silence:
        sentence = (
            f"data.model is {data.model!r}, which could not be checked: {silence}; use a path below a data root or "
            f"{' or '.join(PACKAGED)}, {_TRUST_OR_WAIT}"
        )
        mistakes = [Mistake(("data", "model"), sentence)]
        if isinstance(data.corpus, HubCorpus):
            return mistakes
    try:
        return mistakes + _corpus(data, where)
    except HubSilent as silence:
        dataset = data.corpus.dataset if isinstance(data.corpus, HubCorpus) else ""
        sentence = (
            f"data.corpus.dataset is {dataset!r}, which could not be checked: {silence}; use a corpus of files below a "
            f"data root, {_TRUST_OR_WAIT}"
        )
        return [*mistakes, Mistake(("data", "corpus", "dataset"), sentence)]


def _corpus(data: LanguageModelData, where: Surroundings) -> list[Mistake]:
    corpus = data.corpus
    match corpus:
        case PythonDocsCorpus():
            return []
        case HubCorpus():
            return _hub_corpus(corpus, where)
    return listed(files_of(corpus, corpus.path, ("data", "corpus", "path"), where))


def _hub_corpus(corpus: HubCorpus, where: Surroundings) -> list[Mistake]:
    if where.hub_mode == "trust":
        return []
    place = ("data", "corpus", "dataset")
    if where.hub_mode == "offline":
        sentence = (
            f"data.corpus.dataset is {corpus.dataset!r}, but this service does not reach the hub; use a corpus of files, "
            "or ask the operator to allow the hub."
        )
        return [Mistake(place, sentence)]
    if where.asking().has("datasets", corpus.dataset, corpus.revision):
        return []
    revision = f" at revision {corpus.revision!r}" if corpus.revision else ""
    sentence = (
        f"data.corpus.dataset is {corpus.dataset!r}{revision}, which the hub does not have or not show; check the name."
    )
    return [Mistake(place, sentence)]
