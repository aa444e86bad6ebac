"""What a spec names is looked up when it is submitted, so that a misspelt path fails at once and not in the queue.

The workers look again: files may go, and their machines may differ.
"""

from __future__ import annotations

from collections.abc import Sequence

from prolu.client.wire import NodeRead
from prolu.spec import HubCorpus, LanguageModelData, Mistake, PythonDocsCorpus, ResourcesSpec, RunSpec, ShardsData
from service.domain.scheduling import fits_some_node
from service.store.hub import HubSilent
from service.store.named_files import check_shards, files_of, listed
from service.store.named_models import PACKAGED, check_model
from service.store.surroundings import Surroundings

_TRUST_OR_WAIT = "have the operator set PROLU_HUB=trust to accept it unchecked, or try again later."


def check(spec: RunSpec, where: Surroundings, nodes: Sequence[NodeRead]) -> list[Mistake]:
    """Say what the spec names that is not there, or cannot be checked. Asks the network: never call it inside a transaction."""
    where = where.for_one_request()
    mistakes = check_resources(spec.resources, nodes)
    match spec.data:
        case ShardsData():
            mistakes += check_shards(spec.data, where)
        case LanguageModelData():
            mistakes += _model_and_corpus(spec.data, where)
    return mistakes


def check_resources(asked: ResourcesSpec, nodes: Sequence[NodeRead]) -> list[Mistake]:
    """Refuse what no node of the cluster could ever hold; before the cluster is known, anything goes."""
    if not nodes or fits_some_node(asked, nodes):
        return []
    offers = {
        "gpus": lambda node: node.gpus,
        "cpus": lambda node: node.cpus,
        "memory_gb": lambda node: node.memory_gb,
    }
    mistakes = []
    for field, offer in offers.items():
        largest = max(nodes, key=offer)
        wanted = getattr(asked, field)
        if wanted > offer(largest):
            sentence = (
                f"resources.{field} is {wanted:g}, but no node of the cluster has more than {offer(largest):g} "
                f"({largest.name}); ask for less or add a node."
            )
            mistakes.append(Mistake(("resources", field), sentence))
    if not mistakes:
        largest = max(nodes, key=lambda node: (node.gpus, node.cpus, node.memory_gb))
        sentence = (
            f"No single node has all of resources; the largest, {largest.name}, has {largest.cpus:g} CPUs, "
            f"{largest.gpus:g} GPUs and {largest.memory_gb:.1f} GiB. Ask for less or add a node."
        )
        mistakes.append(Mistake(("resources",), sentence))
    return mistakes


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
