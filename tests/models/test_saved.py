"""What a user can load: a checkpoint's folder, or just the weights with their config."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from prolu.models import CheckpointError, Sae, build_sae, load_sae
from prolu.models.saved import CheckpointConfig
from prolu.spec.data import SyntheticData
from prolu.spec.run import RunSpec
from prolu.spec.sae import GatedSae, ProluSae
from prolu.spec.sparsity import L1
from prolu.spec.training import TrainingSpec
from tests.models.family import FAMILY, Member, inputs

SPEC = RunSpec(
    data=SyntheticData(d_in=6),
    sae=ProluSae(d_sae=10),
    sparsity=L1(coefficient=0.1),
    training=TrainingSpec(steps=5),
)


@pytest.fixture
def sae() -> Sae:
    """An autoencoder with biases."""
    sae = build_sae(SPEC.sae, 6, seed=4)
    with torch.no_grad():
        sae.b_enc.normal_(generator=torch.Generator().manual_seed(0))
    return sae


@pytest.fixture
def folder(sae: Sae, tmp_path: Path) -> Path:
    """A folder with the weights and the config, and no manifest."""
    safetensors.torch.save_file(sae.state_dict(), tmp_path / "sae.safetensors")
    config = CheckpointConfig(spec=SPEC, d_in=6, step=5, tokens=20)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    return tmp_path


def test_a_folder_with_weights_and_config_loads(sae: Sae, folder: Path) -> None:
    loaded = load_sae(folder)
    x = torch.randn(30, 6, generator=torch.Generator().manual_seed(1))
    assert loaded.spec == SPEC.sae
    assert torch.equal(loaded.encode(x), sae.encode(x))
    assert torch.equal(loaded(x), sae(x))


def test_the_weights_file_and_a_url_name_the_same_folder(sae: Sae, folder: Path) -> None:
    for path in (str(folder / "sae.safetensors"), f"file://{folder}", f"{folder}/"):
        assert torch.equal(load_sae(path).b_enc, sae.b_enc)


@pytest.mark.parametrize("member", FAMILY.values(), ids=FAMILY.keys())
def test_every_kind_survives_its_file_with_all_it_knows(member: Member, tmp_path: Path) -> None:
    sae = member.build(torch.float32)
    spec = SPEC.model_copy(update={"sae": member.spec, "sparsity": member.sparsity})
    safetensors.torch.save_file(sae.state_dict(), tmp_path / "sae.safetensors")
    config = CheckpointConfig(spec=spec, d_in=sae.d_in, step=5, tokens=20, input_rms=1.5)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    loaded = load_sae(tmp_path)
    assert loaded.spec == member.spec
    assert loaded.state_dict().keys() == sae.state_dict().keys()
    assert all(torch.equal(tensor, sae.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert torch.equal(loaded(inputs(torch.float32)), sae(inputs(torch.float32)))


def test_weights_of_another_kind_are_refused(folder: Path) -> None:
    gated = build_sae(GatedSae(d_sae=10), 6, seed=0)
    safetensors.torch.save_file(gated.state_dict(), folder / "sae.safetensors")
    with pytest.raises(CheckpointError, match=r"holds b_enc nothing where its spec asks for \(10,\) float32"):
        load_sae(folder)


def test_a_config_without_the_scale_of_its_input_still_loads(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["input_rms"]
    (folder / "config.json").write_text(json.dumps(config))
    assert load_sae(folder).d_in == 6


@pytest.mark.parametrize("name", ["sae.safetensors", "config.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"has no {name}"):
        load_sae(folder)


def test_a_folder_that_does_not_exist_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load_sae(tmp_path / "nothing here")


@pytest.mark.parametrize("keep", [0, 4, 50, -1])
def test_truncated_weights_are_refused(folder: Path, keep: int) -> None:
    content = (folder / "sae.safetensors").read_bytes()
    (folder / "sae.safetensors").write_bytes(content[:keep])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_sae(folder)


def test_a_pickle_is_refused(folder: Path) -> None:
    torch.save({"W_enc": torch.zeros(6, 10)}, folder / "sae.safetensors")
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_sae(folder)


def test_weights_of_another_width_are_refused(folder: Path) -> None:
    other = build_sae(ProluSae(d_sae=11), 6, seed=0)
    safetensors.torch.save_file(other.state_dict(), folder / "sae.safetensors")
    with pytest.raises(CheckpointError, match=r"W_dec \(11, 6\) float32 where its spec asks for \(10, 6\) float32"):
        load_sae(folder)


def test_weights_of_another_precision_are_refused(folder: Path, sae: Sae) -> None:
    safetensors.torch.save_file(sae.half().state_dict(), folder / "sae.safetensors")
    with pytest.raises(CheckpointError, match="float16 where its spec asks for"):
        load_sae(folder)


def test_weights_that_are_not_finite_are_refused_by_name(folder: Path, sae: Sae) -> None:
    spoilt = sae.state_dict() | {"W_enc": torch.full((6, 10), torch.nan)}
    safetensors.torch.save_file(spoilt, folder / "sae.safetensors")
    with pytest.raises(CheckpointError, match=r"sae\.safetensors holds W_enc with NaN or infinite numbers"):
        load_sae(folder)


def test_foreign_weights_are_refused(folder: Path) -> None:
    safetensors.torch.save_file({"encoder": torch.zeros(3)}, folder / "sae.safetensors")
    with pytest.raises(CheckpointError, match="belongs to another run"):
        load_sae(folder)


def test_a_config_of_another_version_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"version": 2}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read: version"):
        load_sae(folder)
