"""Extraction: what is stored, under which name, and what a crowd or a kill does to it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from prolu.data.activations import open_language_model
from prolu.data.contexts import is_held_out
from prolu.data.places import DataError, Interrupted, Places
from prolu.data.stored import StoredSource
from prolu.models.normalisation import Normaliser
from prolu.spec import LanguageModelData, TextCorpus
from prolu.spec.report import Progress

# Two contexts of 16 positions, 32 values of 4 bytes each: 600 activations lie in 19 shards.
SHARD_BYTES = 2 * 16 * 32 * 4
HELD_OUT_SHARE = 0.3


def _spec(**fields: Any) -> LanguageModelData:
    defaults: dict[str, Any] = {
        "model": "llama",
        "block": 1,
        "corpus": TextCorpus(path="texts"),
        "normalisation": "none",
        "ce_tokens": 0,
        "held_out_share": HELD_OUT_SHARE,
    }
    return LanguageModelData(**(defaults | {"context_length": 16, "tokens": 600, "eval_tokens": 100} | fields))


def _open(
    places: Places,
    notify: Callable[[Progress], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
    **fields: Any,
) -> StoredSource:
    return open_language_model(_spec(**fields), places, notify=notify, should_stop=should_stop, shard_bytes=SHARD_BYTES)


def _entries(places: Places) -> list[Path]:
    return sorted(path for path in (places.cache_dir / "activations").iterdir() if path.is_dir())


def _files(entry: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(entry.iterdir())}


def _sorted(x: torch.Tensor) -> torch.Tensor:
    return x[x[:, 0].argsort()]


def _expected(folder: Path, texts: Path, skip: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and held-out activations after block 1, worked out with transformers alone."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = []
    for side, rows in ((False, 600), (True, 100)):
        ids: list[int] = []
        for path in sorted(texts.iterdir()):
            if is_held_out(path.read_text(), HELD_OUT_SHARE) is side:
                ids += [*tokenizer(path.read_text())["input_ids"], tokenizer.eos_token_id]
        contexts = torch.tensor(ids[: len(ids) // 16 * 16]).reshape(-1, 16)
        with torch.inference_mode():
            states = model(input_ids=contexts, output_hidden_states=True).hidden_states[2]
        found.append(states[:, skip:].reshape(-1, 32)[:rows])
    return found[0], found[1]


@pytest.mark.parametrize("skip", [0, 3])
def test_a_source_reads_the_models_activations_of_the_corpus(
    places: Places, tiny_models: Path, texts: Path, skip: int
) -> None:
    source = _open(places, skip_positions=skip)
    train, held_out = _expected(tiny_models / "llama", texts / "texts", skip)
    assert source.d_in == 32
    torch.testing.assert_close(_sorted(source.batch(0, 600)), _sorted(train), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat(list(source.evaluation(64))), held_out, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "kind"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
def test_activations_are_stored_in_the_precision_asked_for(places: Places, dtype: str, kind: torch.dtype) -> None:
    exact = torch.cat(list(_open(places).evaluation(100)))
    rounded = torch.cat(list(_open(places, dtype=dtype).evaluation(100)))
    assert torch.equal(rounded, exact.to(kind).float())


def test_activations_too_large_for_their_precision_are_refused(places: Places, tiny_models: Path) -> None:
    root = places.cache_dir.parent / "loud"
    model = AutoModelForCausalLM.from_pretrained(tiny_models / "llama")
    torch.nn.init.constant_(model.model.embed_tokens.weight, 1e6)
    model.save_pretrained(root / "model")
    AutoTokenizer.from_pretrained(tiny_models / "llama").save_pretrained(root / "model")
    loud = Places(places.cache_dir, (*places.data_roots, root), hub_online=False)
    with pytest.raises(DataError, match=r"data\.dtype is float16, but model has activations .*largest 1e\+06"):
        _open(loud, model="model", dtype="float16")
    assert torch.isfinite(_open(loud, model="model", dtype="bfloat16").batch(0, 10)).all()


def test_runs_that_differ_in_what_is_done_with_activations_share_one_extraction(places: Places) -> None:
    raw = _open(places)
    heard: list[Progress] = []
    shared = _open(places, heard.append, seed=7, normalisation="per_token", buffer_tokens=50)
    assert len(_entries(places)) == 1
    assert {progress.phase for progress in heard} == {"preparing"}
    rows = torch.cat(list(raw.evaluation(100)))
    assert torch.equal(torch.cat(list(shared.evaluation(100))), Normaliser("per_token").normalise(rows))
    assert not torch.equal(shared.batch(0, 50), Normaliser("per_token").normalise(raw.batch(0, 50)))


def test_every_field_that_changes_the_activations_has_an_entry_of_its_own(places: Places, texts: Path) -> None:
    (texts / "fewer").mkdir(exist_ok=True)
    for path in sorted((texts / "texts").iterdir())[:50]:
        (texts / "fewer" / path.name).write_bytes(path.read_bytes())
    changes: list[dict[str, Any]] = [
        {},
        {"model": "gpt2"},
        {"block": 0},
        {"hook": "resid_pre"},
        {"context_length": 8},
        {"skip_positions": 1},
        {"packing": "document"},
        {"special_tokens": "drop"},
        {"model": "gpt2", "prepend_bos": True},
        {"mode": "streaming"},
        {"tokens": 500},
        {"eval_tokens": 50},
        {"held_out_share": 0.4},
        {"dtype": "float16"},
        {"corpus": TextCorpus(path="fewer")},
    ]
    identities = {_open(places, **change).identity for change in changes}
    assert len(_entries(places)) == len(identities) == len(changes)


@pytest.mark.parametrize("mode", ["cached", "streaming"])
def test_a_text_that_has_changed_gives_other_data_and_the_same_text_elsewhere_the_same(
    places: Places, texts: Path, tmp_path: Path, mode: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(texts / "texts", elsewhere / "texts")
    moved = Places(tmp_path / "another cache", (places.data_roots[0], elsewhere), hub_online=False)
    before = _open(moved, mode=mode).identity
    assert before == _open(places, mode=mode).identity
    with (elsewhere / "texts" / "00.txt").open("a") as file:
        file.write(" w1")
    after = _open(moved, mode=mode).identity
    assert after.split(", ")[0] == before.split(", ")[0]  # the model
    assert after.split(", ")[1] != before.split(", ")[1]  # the corpus


@pytest.mark.parametrize("mode", ["cached", "streaming"])
def test_runs_of_one_sweep_are_evaluated_on_the_same_text_however_much_they_train_on(places: Places, mode: str) -> None:
    evaluated = [torch.cat(list(_open(places, mode=mode, tokens=tokens).evaluation(100))) for tokens in (20, 300, 600)]
    assert len(evaluated[0]) == 100
    assert all(torch.equal(evaluated[0], other) for other in evaluated)


def test_the_manifest_says_what_the_entry_depends_on(places: Places) -> None:
    _open(places)
    [entry] = _entries(places)
    manifest = json.loads((entry / "manifest.json").read_text())
    assert manifest["digest"] == entry.name
    assert set(manifest["recipe"]) >= {
        *("model", "tokenizer", "corpus", "hook", "block", "context_length", "skip_positions"),
        *(
            "tokens",
            "eval_tokens",
            "held_out_share",
            "dtype",
            "normalisation",
            "packing",
            "prepend_bos",
            "special_tokens",
        ),
    }
    assert manifest["recipe"]["normalisation"] == "raw"
    assert [sum(array["rows"] for array in manifest["splits"][split]) for split in ("train", "held_out")] == [600, 100]
    for array in manifest["splits"]["train"]:
        assert (entry / array["file"]).stat().st_size == array["bytes"]
        assert array["sha256"] in array["file"]


def test_progress_counts_activations_up_to_all_of_them(places: Places) -> None:
    heard: list[Progress] = []
    _open(places, heard.append)
    assert heard[0].phase == "preparing"
    extracting = [progress for progress in heard if progress.phase == "extracting"]
    assert [progress.done for progress in extracting] == sorted({progress.done for progress in extracting})
    assert (extracting[-1].done, extracting[-1].total) == (700, 700)


@pytest.mark.parametrize("spoil", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_entry_is_extracted_again_and_never_read(places: Places, spoil: str) -> None:
    before = _open(places).batch(0, 600)
    [entry] = _entries(places)
    files = _files(entry)
    victim = sorted(entry.glob("train-*.npy"))[3]
    match spoil:
        case "flip":
            content = bytearray(victim.read_bytes())
            content[-1] ^= 0x40
            victim.write_bytes(content)
        case "truncate":
            victim.write_bytes(victim.read_bytes()[:-4])
        case "remove":
            victim.unlink()
        case _:
            (entry / "manifest.json").write_text("{")
    assert torch.equal(_open(places).batch(0, 600), before)
    assert _files(entry) == files


def test_a_request_to_stop_is_heard_and_finished_shards_are_kept(places: Places) -> None:
    done = 0

    def notify(progress: Progress) -> None:
        nonlocal done
        done = progress.done if progress.phase == "extracting" else 0

    with pytest.raises(Interrupted):
        _open(places, notify, should_stop=lambda: done >= 300)
    [entry] = _entries(places)
    kept = {path.name for path in entry.glob("*-0*.npy")}
    assert kept
    assert not (entry / "manifest.json").exists()
    heard: list[Progress] = []
    _open(places, heard.append)
    first = next(progress for progress in heard if progress.phase == "extracting")
    assert first.done > 0
    assert kept < {path.name for path in entry.iterdir()}


def test_a_corpus_that_is_too_small_or_empty_says_what_it_has(places: Places, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"data\.tokens is 5000, but the training documents of .*60 documents, 30% .* give only \d+"
    ):
        _open(places, tokens=5_000)
    with pytest.raises(
        DataError, match=r"data\.eval_tokens is 2000, but the held-out documents of .* give only \d+; ask for"
    ):
        _open(places, tokens=10, eval_tokens=2_000)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "blank.txt").write_text(" \n")
    with_blank = Places(places.cache_dir, (*places.data_roots, tmp_path), hub_online=False)
    with pytest.raises(DataError, match=r"data\.corpus \(text\) holds no text"):
        _open(with_blank, corpus=TextCorpus(path="more"))
    assert not list(places.cache_dir.rglob("*.unfinished"))


class Other:
    """Another process that extracts the same activations and stops when it has `hold_at` of them."""

    def __init__(self, places: Places, hold_at: int) -> None:
        order = {
            "spec": _spec().model_dump(mode="json"),
            "cache_dir": str(places.cache_dir),
            "data_roots": [str(root) for root in places.data_roots],
            "shard_bytes": SHARD_BYTES,
            "threads": torch.get_num_threads(),
            "hold_at": hold_at,
        }
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("extracting_process.py"), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_one_process_extracts_while_the_others_wait(places: Places) -> None:
    other = Other(places, hold_at=1)
    try:
        assert other.said() == "held"
        # Asked to stop while it waits, a run gives up at once.
        heard: list[Progress] = []
        with pytest.raises(Interrupted):
            _open(places, heard.append, should_stop=lambda: heard[-1].phase == "waiting_for_extraction")

        def release(progress: Progress) -> None:
            if progress.phase == "waiting_for_extraction" and heard[-1].phase == "preparing":
                other.go_on()
            heard.append(progress)

        _open(places, release)
        assert other.said() == "done"
        assert {progress.phase for progress in heard} == {"preparing", "waiting_for_extraction"}
        assert len(_entries(places)) == 1
    finally:
        other.close()


def test_after_a_kill_another_process_goes_on_at_the_first_missing_shard(
    places: Places, tmp_path: Path, tiny_models: Path, texts: Path
) -> None:
    undisturbed = Places(tmp_path / "undisturbed", places.data_roots, hub_online=False)
    expected = _open(undisturbed)
    other = Other(places, hold_at=300)
    heard: list[Progress] = []
    try:
        assert other.said() == "held"
        [entry] = _entries(places)
        (entry / "train-00099-half.npy.abc.unfinished").write_bytes(b"what a kill in the middle of a write leaves")
        written = {path.name: path.stat().st_mtime_ns for path in entry.glob("*.npy")}

        def kill(progress: Progress) -> None:
            heard.append(progress)
            if progress.phase == "waiting_for_extraction":
                other.process.kill()  # SIGKILL: the lock must fall free by itself

        source = _open(places, kill)
    finally:
        other.close()
    assert other.process.returncode == -9
    extracting = [progress.done for progress in heard if progress.phase == "extracting"]
    assert extracting[0] > 0
    assert {path.name: path.stat().st_mtime_ns for path in entry.glob("*.npy") if path.name in written} == written
    assert _files(entry) == _files(_entries(undisturbed)[0])
    assert torch.equal(source.batch(3, 128), expected.batch(3, 128))


def test_a_stream_can_be_entered_at_any_step(places: Places) -> None:
    first, second = _open(places), _open(places)
    batches = [first.batch(step, 64) for step in range(30)]
    for step in (29, 3, 17):
        assert torch.equal(second.batch(step, 64), batches[step])
    rows = torch.cat(batches)[: 3 * 600]
    for number in range(3):
        one_pass = rows[600 * number : 600 * (number + 1)]
        assert np.unique(one_pass.numpy(), axis=0).shape == np.unique(rows.numpy(), axis=0).shape
