"""Checkpoints from others: whatever their files say, one sentence ends it, before it takes memory or time."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prolu.export import SaeLensError, load_sae_lens
from prolu.models.sae import build_sae
from prolu.models.saved import CheckpointConfig, CheckpointError, load_sae
from prolu.spec.run import RunSpec

DOCUMENT: dict[str, Any] = {
    "data": {"kind": "synthetic", "d_in": 4},
    "sae": {"kind": "prolu", "d_sae": 8},
    "sparsity": {"kind": "l1", "coefficient": 0.001},
    "training": {"steps": 10},
}
CFG = {"architecture": "standard", "d_in": 4, "d_sae": 8, "dtype": "float32", "metadata": {"sae_lens_version": "6.0.0"}}
CONFIG = "config.json"
WEIGHTS = "sae.safetensors"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A folder with weights and config, as anybody may send one."""
    spec = RunSpec.model_validate(DOCUMENT)
    sae = build_sae(spec.sae, 4, seed=1)
    config = CheckpointConfig(spec=spec, d_in=4, step=1, tokens=1)
    (tmp_path / CONFIG).write_text(config.model_dump_json())
    (tmp_path / WEIGHTS).write_bytes(safetensors.torch.save(sae.state_dict()))
    return tmp_path


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """The same from SAELens."""
    sae = build_sae(RunSpec.model_validate({**DOCUMENT, "sae": {"kind": "relu", "d_sae": 8}}).sae, 4, seed=1)
    (tmp_path / "cfg.json").write_text(json.dumps(CFG))
    (tmp_path / "sae_weights.safetensors").write_bytes(safetensors.torch.save(sae.state_dict()))
    load_sae_lens(tmp_path)
    return tmp_path


def with_header(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def tensor(shape: list[Any], offsets: list[Any], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


FILES: dict[str, bytes] = {
    "a header longer than any file": struct.pack("<Q", 2**63) + b"{}",
    "a header of 2 MB": with_header(b'{"a":' + b" " * 2_000_000 + b"1}"),
    "ten thousand entries": with_header({f"t{index}": tensor([0], [0, 0]) for index in range(10_000)}),
    "offsets beyond the end": with_header({"W_enc": tensor([4, 8], [0, 128])}, b"x" * 8),
    "offsets that overlap": with_header({"W_enc": tensor([2], [0, 8]), "W_dec": tensor([2], [4, 12])}, b"x" * 12),
    "offsets that fall": with_header({"W_enc": tensor([2], [8, 0])}, b"x" * 8),
    "a shape that overflows": with_header({"W_enc": tensor([2**40, 2**40], [0, 8])}, b"x" * 8),
    "a negative shape": with_header({"W_enc": tensor([-1], [0, 4])}, b"x" * 4),
    "nested lists without end": with_header(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "a pickle": pickle.dumps({"W_enc": [1.0]}),
    "a zip": b"PK\x03\x04" + b"\0" * 100,
    "nothing": b"",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_weights_that_are_none_end_in_one_sentence(ours: Path, theirs: Path, content: bytes) -> None:
    (ours / WEIGHTS).write_bytes(content)
    with pytest.raises(CheckpointError, match=WEIGHTS) as refused:
        load_sae(ours)
    (theirs / "sae_weights.safetensors").write_bytes(content)
    with pytest.raises(SaeLensError, match=r"sae_weights\.safetensors") as refused_too:
        load_sae_lens(theirs)
    assert max(len(str(refused.value)), len(str(refused_too.value))) < 1_000


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


PLACES: dict[str, Callable[[Path], None]] = {
    "a terabyte of nothing": _sparse,
    "a pipe": lambda path: os.mkfifo(path),
    "a device that never ends": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("make", PLACES.values(), ids=PLACES.keys())
@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "cfg.json", "sae_weights.safetensors"])
def test_what_is_too_long_or_has_no_end_is_not_read(
    ours: Path, theirs: Path, make: Callable[[Path], None], name: str
) -> None:
    (ours / name).unlink()
    make(ours / name)
    with pytest.raises((CheckpointError, SaeLensError), match=r"no |not read"):
        (load_sae if name in (CONFIG, WEIGHTS) else load_sae_lens)(ours)


@pytest.mark.parametrize(
    "sizes", [{"d_in": 1_000_000}, {"d_in": 2**62}, {"d_in": -1}, {"d_sae": 4_000_000, "d_in": 1_000_000}]
)
def test_a_config_that_asks_for_more_than_the_file_holds_takes_no_memory(
    ours: Path, theirs: Path, sizes: dict[str, int]
) -> None:
    config = json.loads((ours / CONFIG).read_text())
    config["d_in"] = sizes["d_in"]
    config["spec"]["sae"]["d_sae"] = sizes.get("d_sae", 8)
    (ours / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError):
        load_sae(ours)
    (theirs / "cfg.json").write_text(json.dumps(CFG | sizes))
    with pytest.raises(SaeLensError):
        load_sae_lens(theirs)


@pytest.mark.parametrize(
    "text", [b"[" * 200_000, b'{"spec":' * 50_000, b"\xff\xfe", b"{}", b"null", b'{"d_in": 1e999}']
)
def test_json_without_end_or_sense_ends_in_one_sentence(ours: Path, theirs: Path, text: bytes) -> None:
    (ours / CONFIG).write_bytes(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_sae(ours)
    (theirs / "cfg.json").write_bytes(text)
    with pytest.raises(SaeLensError, match=r"cfg\.json"):
        load_sae_lens(theirs)


NUMBERS = st.one_of(st.integers(-2, 40), st.sampled_from([2**31, 2**40, 2**63, 2**64]), st.floats(), st.none())
ENTRIES = st.builds(
    tensor, st.lists(NUMBERS, max_size=3), st.lists(NUMBERS, max_size=3), st.sampled_from(["F32", "I8", "X"])
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.dictionaries(
        st.sampled_from(["W_enc", "W_dec", "b_enc", "b_dec", "", "__metadata__"]), ENTRIES | NUMBERS
    ),
    body=st.binary(max_size=64),
)
def test_whatever_a_header_says_it_is_refused_in_words(ours: Path, header: dict[str, Any], body: bytes) -> None:
    (ours / WEIGHTS).write_bytes(with_header(header, body))
    with pytest.raises(CheckpointError):
        load_sae(ours)
