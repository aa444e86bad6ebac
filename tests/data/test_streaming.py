"""Streaming: the model beside the training, with the same promises as what lies on disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prolu.data.activations import open_language_model
from prolu.data.places import Interrupted, Places
from prolu.data.source import ActivationSource
from prolu.data.stored import StoredSource
from prolu.data.streaming import StreamingSource
from prolu.spec import LanguageModelData, TextCorpus

ROWS = 600
BUFFER = 200


def _spec(**fields: Any) -> LanguageModelData:
    defaults: dict[str, Any] = {
        "model": "llama",
        "block": 1,
        "corpus": TextCorpus(path="texts"),
        "normalisation": "none",
        "mode": "streaming",
        "context_length": 16,
        "tokens": ROWS,
        "eval_tokens": 100,
        "held_out_share": 0.3,
        "buffer_tokens": BUFFER,
        "ce_tokens": 0,
    }
    return LanguageModelData(**(defaults | fields))


def _open(places: Places, should_stop: Any = lambda: False, **fields: Any) -> ActivationSource:
    return open_language_model(_spec(**fields), places, notify=lambda _: None, should_stop=should_stop)


def _same_rows(one: torch.Tensor, other: torch.Tensor, atol: float = 1e-5) -> bool:
    """Whether two orders hold the same rows, up to the rounding of forward passes with other neighbours."""
    distances = (one.unsqueeze(1) - other.unsqueeze(0)).abs().amax(dim=2)
    return len(one) == len(other) and max(distances.amin(dim=side).max().item() for side in (0, 1)) <= atol


FIELDS: list[dict[str, Any]] = [
    {},
    {"packing": "document", "special_tokens": "drop", "skip_positions": 2},
    {"model": "gpt2", "prepend_bos": True, "hook": "mlp_hidden", "dtype": "bfloat16"},
]


@pytest.mark.parametrize("fields", FIELDS)
def test_a_pass_reads_every_row_of_the_cached_source_once(places: Places, fields: dict[str, Any]) -> None:
    cached, streamed = _open(places, mode="cached", **fields), _open(places, **fields)
    assert isinstance(cached, StoredSource)
    assert isinstance(streamed, StreamingSource)
    assert cached.d_in == streamed.d_in
    for number in (0, 2):
        one = torch.cat([streamed.batch(6 * number + step, ROWS // 6) for step in range(6)])
        other = cached.batch(number, ROWS)
        assert _same_rows(one, other, atol=1e-3 if fields.get("dtype") == "bfloat16" else 1e-5)


@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize("normalisation", ["none", "dataset_rms"])
def test_the_held_out_set_is_that_of_the_cached_source_bit_for_bit(
    places: Places, fields: dict[str, Any], normalisation: str
) -> None:
    fields = fields | {"normalisation": normalisation}
    cached, streamed = _open(places, mode="cached", **fields), _open(places, **fields)
    assert streamed.normaliser == cached.normaliser
    one, other = (torch.cat(list(source.evaluation(64))) for source in (cached, streamed))
    assert torch.equal(one, other)


def test_a_step_read_cold_has_the_bits_of_the_step_read_in_sequence(places: Places) -> None:
    in_sequence = _open(places)
    batches = [in_sequence.batch(step, 64) for step in range(25)]  # two and a half passes
    for step in (24, 0, 9, 10, 17):
        assert torch.equal(_open(places).batch(step, 64), batches[step])
    again = _open(places)
    for step in (20, 3, 4, 21):
        assert torch.equal(again.batch(step, 64), batches[step])


def test_a_batch_may_span_passes_and_blocks(places: Places) -> None:
    source = _open(places)
    long = source.batch(1, 500)
    assert torch.equal(long, torch.cat([_open(places).batch(step, 100) for step in range(5, 10)]))


def test_passes_and_seeds_differ_in_order(places: Places) -> None:
    source = _open(places)
    first, second = source.batch(0, ROWS), source.batch(1, ROWS)
    assert not torch.equal(first, second)
    assert _same_rows(first, second)
    assert not torch.equal(first, _open(places, seed=1).batch(0, ROWS))


def test_a_batch_mixes_the_contexts_of_two_chunks(places: Places) -> None:
    cached = _open(places, mode="cached")
    assert isinstance(cached, StoredSource)
    in_corpus_order = cached._train.gather(np.arange(ROWS))
    for step in range(4):
        batch = _open(places).batch(step, 32)  # two contexts' worth, out of a buffer of twelve contexts
        contexts = set((torch.cdist(batch, in_corpus_order).argmin(dim=1) // 16).tolist())
        assert len(contexts) >= 9
        assert max(contexts) - min(contexts) > 12


def test_at_most_two_chunks_are_in_memory(places: Places) -> None:
    source = _open(places)
    assert isinstance(source, StreamingSource)
    for step in range(30):
        source.batch(step, 64)
        assert len(source._buffer) <= 2
        assert sum(len(chunk) for chunk in source._buffer.values()) < BUFFER + 2 * 16


@pytest.mark.parametrize(
    ("buffer_tokens", "chunks", "fillings"),
    [(10_000, 1, 1), (2 * ROWS, 1, 1), (ROWS, 2, 2), (BUFFER, 6, 7)],
)
def test_a_pass_fills_each_chunk_once_and_its_last_one_twice_if_there_are_more_than_two(
    places: Places, monkeypatch: pytest.MonkeyPatch, buffer_tokens: int, chunks: int, fillings: int
) -> None:
    source = _open(places, buffer_tokens=buffer_tokens)
    assert isinstance(source, StreamingSource)
    fill, filled = source._filled, []
    monkeypatch.setattr(source, "_filled", lambda numbers: filled.append(tuple(numbers)) or fill(numbers))
    batches = [source.batch(step, 60) for step in range(10)]
    assert (len(set(filled)), len(filled)) == (chunks, fillings)
    assert _same_rows(torch.cat(batches), _open(places).batch(0, ROWS))


def test_only_token_ids_and_held_out_activations_lie_on_disk(places: Places) -> None:
    source = _open(places)
    source.batch(0, 10)
    names = {path.name.split("-")[0] for path in (places.cache_dir / "activations").rglob("*.npy")}
    assert names == {"held_out"}
    for path in (places.cache_dir / "contexts").rglob("train-*.npy"):
        assert path.stat().st_size <= 4 * (ROWS + 16) + 128


def test_a_wish_to_stop_is_heard_while_the_buffer_fills(places: Places) -> None:
    stop = False
    source = _open(places, should_stop=lambda: stop)
    source.batch(0, 10)
    stop = True
    source.batch(1, 10)  # it is in the buffer
    with pytest.raises(Interrupted):
        source.batch(5, 100)
    stop = False
    assert torch.equal(source.batch(5, 100), _open(places).batch(5, 100))


def test_the_rms_is_measured_once_and_kept(places: Places, tiny_models: Path) -> None:
    raw, scaled = _open(places, mode="cached"), _open(places, mode="cached", normalisation="dataset_rms")
    rows = raw.batch(0, ROWS).double()
    rms = (rows.square().sum(dim=1).mean() / 32).sqrt().item()
    assert scaled.normaliser.rms == pytest.approx(rms, rel=1e-6)
    torch.testing.assert_close(scaled.batch(3, 50), raw.batch(3, 50) / scaled.normaliser.rms)
    [kept] = places.cache_dir.rglob("rms.json")
    kept.write_text('{"rms": 2.0}')
    assert _open(places, mode="cached", normalisation="dataset_rms", seed=5).normaliser.rms == 2.0
    kept.write_text("{")
    assert _open(places, mode="cached", normalisation="dataset_rms").normaliser == scaled.normaliser
