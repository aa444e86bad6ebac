"""The client is light: it loads no heavy package until something heavy is asked of it."""

import subprocess
import sys

import pytest

from prolu.client.up import guardian


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after the statement."""
    script = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize("module", ["prolu", "prolu.client", "prolu.client.plots"])
def test_importing_the_client_loads_neither_torch_nor_ray_nor_typer(module: str) -> None:
    heavy = {
        "torch",
        "ray",
        "typer",
        "transformers",
        "numpy",
        "pyarrow",
        "matplotlib",
        "sqlalchemy",
        "fastapi",
        "service",
    }
    assert not loaded_by(f"import {module}") & heavy


@pytest.mark.parametrize("module", ["prolu.client.cli.app", "prolu.client.up.stack", "prolu.client.up.supervisor"])
def test_the_command_and_the_supervisor_load_neither_service_nor_workers_nor_ray(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"service", "workers", "ray", "torch", "sqlalchemy", "fastapi", "numpy"}


def test_the_guardian_needs_the_standard_library_alone_and_passes_the_exit_status_on() -> None:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", guardian.__file__, "1", sys.executable, "-I", "-S", "-c", "raise SystemExit(7)"],
        stdin=subprocess.PIPE,
    ) as ran:
        assert ran.wait(30) == 7
