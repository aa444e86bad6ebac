"""One way in for every kind of source."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from prolu.data.opening import open_source
from prolu.data.places import Places
from prolu.data.source import ActivationSource
from prolu.spec import DataSpec, LanguageModelData, ShardsData, SyntheticData, TextCorpus

SPECS: list[DataSpec] = [
    SyntheticData(d_in=32, eval_samples=20),
    ShardsData(path="shards", eval_samples=20),
    LanguageModelData(
        model="gpt2",
        block=0,
        corpus=TextCorpus(path="texts"),
        context_length=16,
        tokens=100,
        eval_tokens=20,
        held_out_share=0.3,
    ),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_every_kind_of_spec_opens_a_source_that_can_be_read(places: Places, tmp_path: Path, spec: DataSpec) -> None:
    (tmp_path / "root" / "shards").mkdir(parents=True)
    np.save(tmp_path / "root" / "shards" / "a.npy", np.ones((200, 32), np.float16))
    allowed = Places(places.cache_dir, (*places.data_roots, tmp_path / "root"), hub_online=False)
    source = open_source(spec, places=allowed, notify=lambda _: None, should_stop=lambda: False)
    assert isinstance(source, ActivationSource)
    assert source.d_in == 32
    x = source.batch(5, 30)
    assert (x.shape, x.dtype, x.device.type) == ((30, 32), torch.float32, "cpu")
    assert torch.equal(x, source.batch(5, 30))
    assert sum(len(batch) for batch in source.evaluation(8)) == 20


def test_synthetic_data_and_shards_do_without_transformers(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from prolu.data.opening import open_source
from prolu.data.places import Places
from prolu.spec import SyntheticData
places = Places(Path("cache"), (), hub_online=False)
open_source(SyntheticData(), places=places, notify=print, should_stop=bool).batch(0, 4)
assert not {"transformers", "datasets", "pyarrow"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
