"""Tiny language models with random weights, a tokenizer of whole words, and folders of text: real parts, in milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from prolu.data.places import Places
from prolu.data.quiet import quiet_transformers

WORDS = [f"w{number}" for number in range(62)]
SIZES: dict[str, Any] = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
LLAMA_LIKE: dict[str, Any] = SIZES | {
    "intermediate_size": 64,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": None,
}
CONFIGS = {
    "llama": lambda: LlamaConfig(**LLAMA_LIKE),
    "mistral": lambda: MistralConfig(**LLAMA_LIKE, sliding_window=4),
    "qwen2": lambda: Qwen2Config(**LLAMA_LIKE),
    "gemma2": lambda: Gemma2Config(**LLAMA_LIKE, head_dim=8, sliding_window=4),
    "granite": lambda: GraniteConfig(**LLAMA_LIKE, residual_multiplier=0.5),
    "opt": lambda: OPTConfig(**SIZES, ffn_dim=64, max_position_embeddings=64, word_embed_proj_dim=32),
    "gptj": lambda: GPTJConfig(vocab_size=64, n_embd=32, n_layer=3, n_head=4, n_positions=64, rotary_dim=4),
    "gpt2": lambda: GPT2Config(vocab_size=64, n_embd=32, n_layer=3, n_head=4, n_positions=64),
    "gpt_neox": lambda: GPTNeoXConfig(**SIZES, intermediate_size=64, max_position_embeddings=64),
}


def save_tiny_model(folder: Path, kind: str) -> None:
    """Save a model of three blocks and width 32, with random weights, and its tokenizer.

    As with the real GPT-2, the token that begins a sequence is the one that ends it; the others here have none.
    """
    torch.manual_seed(0)
    with quiet_transformers():
        AutoModelForCausalLM.from_config(CONFIGS[kind]()).save_pretrained(folder)
    vocabulary = {"<unk>": 0, "<eos>": 1} | {word: number + 2 for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    special = {"eos_token": "<eos>", "unk_token": "<unk>"} | ({"bos_token": "<eos>"} if kind == "gpt2" else {})
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def documents(count: int, words: int, seed: int = 0) -> list[str]:
    """Documents of random words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=words)) for _ in range(count)]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny model per architecture."""
    root = tmp_path_factory.mktemp("models")
    for kind in CONFIGS:
        save_tiny_model(root / kind, kind)
    return root


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the folder `texts`: 60 documents of 40 words, so 41 tokens each with the end-of-sequence token."""
    root = tmp_path_factory.mktemp("texts")
    (root / "texts").mkdir()
    for number, text in enumerate(documents(60, 40)):
        (root / "texts" / f"{number:02d}.txt").write_text(text)
    return root


@pytest.fixture
def places(tmp_path: Path, tiny_models: Path, texts: Path) -> Places:
    """An empty cache, and data roots with the tiny models and the texts."""
    return Places(cache_dir=tmp_path / "cache", data_roots=(tiny_models, texts), hub_online=False)
