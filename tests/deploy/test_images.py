"""The Dockerfile against the repository: stages, users, versions, and what each image can import."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

# What a service's image lacks on purpose, and what its processes import all the same if someone forgets.
IMAGES = {
    "api": ({"torch", "ray", "transformers"}, ["service.__main__", "service.app", "service.store.schema", "s3fs"]),
    "dispatcher": ({"torch", "transformers"}, ["workers.__main__"]),
    "ray": ({"sqlalchemy", "psycopg", "fastapi", "alembic"}, ["workers.cluster", "prolu.data", "prolu.training"]),
}


@pytest.fixture
def extras(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def _ancestry(stages, name):
    while name in stages:
        yield stages[name]
        name = stages[name].parent


def test_every_service_is_built_from_a_stage_or_from_a_pinned_image(compose, stages):
    for name, service in compose["services"].items():
        if "build" in service:
            assert service["build"]["target"] in stages, name
        else:
            assert re.search(r":\d+(\.\d+)*$", service["image"]), f"{name}: {service['image']} names no version"


def test_no_service_runs_as_root(compose, stages):
    for name, service in compose["services"].items():
        if "build" in service:
            user = next(filter(None, (stage.last("USER") for stage in _ancestry(stages, service["build"]["target"]))))
        else:
            user = service.get("user", "root")
        assert user.split(":")[0] not in ("root", "0"), name


def test_the_base_is_the_python_that_the_project_is_tested_with(stages, root):
    declared = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", (root / "Dockerfile").read_text(), re.MULTILINE)
    assert declared
    assert declared[1].startswith("python:3.11-slim")
    assert stages["base"].parent == "${PYTHON_IMAGE}"


def test_every_stage_comes_from_one_before_it_and_copies_what_exists(stages, root):
    seen = set()
    for stage in stages.values():
        assert stage.parent in seen | {"${PYTHON_IMAGE}"}, stage.name
        for line in stage.lines:
            if not line.startswith("COPY "):
                continue
            options = [word for word in line.split()[1:] if word.startswith("--")]
            sources = [word for word in line.split()[1:-1] if not word.startswith("--")]
            if options:
                assert options[0].removeprefix("--from=") in seen, line
            else:
                assert [source for source in sources if not (root / source).exists()] == []
        seen.add(stage.name)


def test_the_build_context_lets_through_what_is_copied_and_nothing_secret(stages, root):
    allowed = {
        line.removeprefix("!").removesuffix("/**")
        for line in (root / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        word
        for stage in stages.values()
        for line in stage.lines
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert copied == allowed


def test_every_package_is_installed_in_its_locked_version(stages, extras):
    for stage in stages.values():
        for line in stage.lines:
            for command in re.findall(r"pip install [^&]+", line):
                assert "--constraint requirements.lock" in command or "requirements-models.lock" in command
                named = re.search(r'"\.\[(\w+)\]"', command)
                assert named is None or named[1] in extras


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-peers.lock"])
def test_a_lock_names_torch_without_a_build(root, name):
    lock = (root / name).read_text()
    assert "\ntorch==2.13.0 " in lock
    assert "make lock" in lock
    assert not re.search(r"--hash|://", lock)


def test_each_image_exposes_the_port_that_its_service_listens_on(compose, stages):
    assert stages["api"].last("EXPOSE") == compose["services"]["api"]["environment"]["PROLU_PORT"]
    assert f"--port={stages['ray'].last('EXPOSE')}" in compose["services"]["ray-head"]["command"]


@pytest.mark.parametrize("target", IMAGES)
def test_an_image_does_without_the_packages_that_it_lacks(target):
    lacking, modules = IMAGES[target]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({sorted(lacking)!r}));"
        f"import importlib; [importlib.import_module(name) for name in {modules!r}]"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_the_folders_of_the_volumes_belong_to_the_user_of_the_image(compose, stages):
    made = " ".join(stages["base"].lines)
    for name, service in compose["services"].items():
        if "build" not in service:
            continue
        for volume in service.get("volumes", []):
            folder = volume.removesuffix(":ro").rsplit(":", 1)[1]
            assert re.search(rf"{re.escape(folder)}(\s|$)", made), f"{name}: {folder}"
