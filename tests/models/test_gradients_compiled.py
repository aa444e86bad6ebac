"""Every activation is one graph under torch.compile, whatever the size of the batch, and computes the same."""

import subprocess
import sys
from pathlib import Path


def test_compiled_activations_have_the_values_and_the_gradients_of_the_plain_ones() -> None:
    command = [sys.executable, "-m", "tests.models.compiled_gradients"]
    found = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=250)
    assert (found.stdout, found.returncode) == ("", 0), found.stderr
