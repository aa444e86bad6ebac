"""`python -m prolu.offline`: what was written on one stream, mistakes in one line on the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch

from prolu.models.saved import CONFIG, WEIGHTS
from prolu.offline.__main__ import BAD_INPUT, FAILED, OK, run
from tests.export.cases import make_case


def test_a_checkpoint_is_exported_and_its_notes_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = make_case("prolu-none-unit")
    folder = tmp_path / "step-5"
    folder.mkdir()
    (folder / CONFIG).write_text(case.config.model_dump_json())
    safetensors.torch.save_file(case.sae.state_dict(), folder / WEIGHTS)
    target = str(tmp_path / "out")
    assert run(["export", str(folder), "--format", "sae_lens", "--to", target]) == OK
    said = capsys.readouterr()
    assert said.out == ""
    assert "cfg.json, sae_weights.safetensors (jumprelu)" in said.err
    assert "of 40 biases are above 0" in said.err
    for arguments, status, sentence in (
        (["export", str(folder), "--format", "sae_lens", "--to", target], FAILED, "exists already"),
        (["export", str(tmp_path), "--format", "sae_lens", "--to", f"{target}-2"], BAD_INPUT, "not a whole checkpoint"),
    ):
        assert run(arguments) == status
        said = capsys.readouterr()
        assert sentence in said.err
        assert len(said.err.splitlines()) == 1


def test_a_format_that_is_not_known_is_a_mistake_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "x", "--format", "onnx", "--to", "y"]) == 2
    assert "'onnx'" in capsys.readouterr().err
