"""The compose file against the code: no container engine is needed to find a setting, command or port that is wrong.

Each rule is a function that lists what breaks it. One test holds the file to every rule; the other breaks the file in
the way that a rule is there for, and expects the rule to notice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.settings import Settings

# ${NAME}, ${NAME:-default}, ${NAME:?message}
VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::(?P<operator>[-?])(?P<rest>[^}]*))?\}")
SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|ACCESS_KEY|DATABASE_URL")
# May be empty: without it only what is public on the hub can be read.
OPTIONAL_SECRETS = {"HF_TOKEN"}
# Ports on which images of others listen unless told otherwise.
FOREIGN_PORTS = {"postgres": 5432, "store": 8333}
# Settings that other programs define.
FOREIGN_VARIABLES = {
    "POSTGRES_USER",
    "POSTGRES_DB",
    "BUCKET",
    "HF_HOME",
    "GRPC_DNS_RESOLVER",
    "RAY_USAGE_STATS_ENABLED",
} | {f"AWS_{name}" for name in ("ENDPOINT_URL", "DEFAULT_REGION", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}

Compose = dict[str, Any]
Rule = Callable[[Compose], Iterator[str]]
RULES: list[Rule] = []


def rule(function: Rule) -> Rule:
    RULES.append(function)
    return function


def filled(text: str) -> str:
    """What Compose makes of a text when every required variable is `filled`."""
    return VARIABLE.sub(lambda match: (match["rest"] or "") if match["operator"] == "-" else "filled", text)


def environment(service: Compose) -> dict[str, str]:
    return service.get("environment", {})


def words(service: Compose) -> str:
    """Everything in a service that may name a host and a port."""
    command = " ".join(service.get("command", []))
    return " ".join([command, *environment(service).values(), *service.get("healthcheck", {}).get("test", [])])


def variable_names() -> set[str]:
    """Every environment variable that the settings read."""
    names = set()
    for name, field in Settings.model_fields.items():
        aliases = getattr(field.validation_alias, "choices", None) or [f"PROLU_{name}"]
        names |= {str(alias).upper() for alias in aliases if "_" in str(alias)}
    return names


def port_of(name: str, service: Compose) -> int | None:
    option = re.search(r"--port=(\d+)", " ".join(service.get("command", [])))
    told = environment(service).get("PROLU_PORT") or (option and option[1])
    return int(told) if told else FOREIGN_PORTS.get(name)


def one_shot(service: Compose) -> bool:
    return service.get("restart") == "no"


@rule
def every_variable_is_read_by_the_settings(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        for variable in environment(service):
            known = variable in variable_names() if variable.startswith("PROLU_") else True
            if not known:
                yield f"{name}: no setting is called {variable}"


@rule
def every_other_variable_is_known(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        for variable in environment(service):
            ours = variable.startswith(("PROLU_", "RAY_AUTH_"))
            if not ours and variable not in FOREIGN_VARIABLES and not SECRET.search(variable):
                yield f"{name}: {variable} is not known to any program of the stack"


@rule
def the_settings_accept_every_value(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        ours = {key: filled(str(value)) for key, value in environment(service).items() if key.startswith("PROLU_")}
        with pytest.MonkeyPatch.context() as patch:
            for key, value in ours.items():
                patch.setenv(key, value)
            try:
                Settings()
            except ValueError as error:
                yield f"{name}: {error}"


@rule
def every_port_is_that_of_the_service_it_names(compose: Compose) -> Iterator[str]:
    services = compose["services"]
    for name, service in services.items():
        for host, port in re.findall(r"([\w.-]+):(\d{2,5})\b", filled(words(service))):
            target = name if host in ("127.0.0.1", "localhost") else host
            if target in services and int(port) != port_of(target, services[target]):
                yield f"{name}: {host}:{port}, but {target} listens on {port_of(target, services[target])}"
        for published in service.get("ports", []):
            if int(published.rsplit(":", 1)[1]) != port_of(name, service):
                yield f"{name}: publishes {published}, but listens on {port_of(name, service)}"


@rule
def a_service_shares_a_network_with_those_it_names(compose: Compose) -> Iterator[str]:
    services = compose["services"]
    for name, service in services.items():
        for host in set(re.findall(r"(?:^|[/@=\s])([a-z][a-z-]*):\d{2,5}\b", filled(words(service)))) & set(services):
            if not set(service["networks"]) & set(services[host]["networks"]):
                yield f"{name}: has no network in common with {host}"


@rule
def nothing_but_the_api_is_published_and_that_on_loopback(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        for published in service.get("ports", []):
            if name != "api" or not filled(published).startswith("127.0.0.1:"):
                yield f"{name}: publishes {published}"
        if "network_mode" in service or service.get("privileged"):
            yield f"{name}: shares the host's network or rights"


@rule
def every_volume_is_declared_and_used(compose: Compose) -> Iterator[str]:
    mounted = {
        volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", [])
    }
    named = {name for name in mounted if re.fullmatch(r"[a-z]+", name)}
    for name in named ^ set(compose["volumes"]):
        yield f"volume {name} is mounted but not declared, or declared but not mounted"


@rule
def every_network_is_declared_and_used(compose: Compose) -> Iterator[str]:
    joined = {network for service in compose["services"].values() for network in service.get("networks", ["default"])}
    for name in joined ^ set(compose["networks"]):
        yield f"network {name} is joined but not declared, or declared but not joined"


@rule
def every_secret_is_required_from_the_environment(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        for variable, value in environment(service).items():
            if not SECRET.search(variable):
                continue
            found = list(VARIABLE.finditer(str(value)))
            if not found:
                yield f"{name}: {variable} is written into the file"
            for match in found:
                if match["operator"] != "?" and match["name"] not in OPTIONAL_SECRETS:
                    yield f"{name}: {match['name']} is not required"
                if match["operator"] == "?" and not match["rest"]:
                    yield f"{name}: {match['name']} is required without a word of what to do"


@rule
def every_service_has_a_health_check_or_is_one_shot(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        if one_shot(service) == ("healthcheck" in service):
            yield f"{name}: needs either a health check or restart: 'no'"


@rule
def every_dependency_exists_and_can_come_true(compose: Compose) -> Iterator[str]:
    services = compose["services"]
    for name, service in services.items():
        for target, wish in service.get("depends_on", {}).items():
            if target not in services:
                yield f"{name}: depends on {target}, which is no service"
            elif wish["condition"] == "service_completed_successfully" and not one_shot(services[target]):
                yield f"{name}: waits for the end of {target}, which does not end"
            elif wish["condition"] == "service_healthy" and "healthcheck" not in services[target]:
                yield f"{name}: waits for the health of {target}, which tells none"


@rule
def gpu_workers_cannot_reach_the_database(compose: Compose) -> Iterator[str]:
    for name in ("ray-head", "ray-gpu-worker"):
        service = compose["services"][name]
        if any(re.search(r"DATABASE|POSTGRES", variable) for variable in environment(service)):
            yield f"{name}: holds the database's password"
        if "database" in service["networks"]:
            yield f"{name}: is on the database's network"


@rule
def every_part_of_ray_asks_for_the_token_and_reports_nothing(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        command = " ".join(service.get("command", []))
        if "ray start" not in command:
            continue
        if environment(service).get("RAY_AUTH_MODE") != "token" or "RAY_AUTH_TOKEN" not in environment(service):
            yield f"{name}: has no token for Ray"
        if environment(service).get("RAY_USAGE_STATS_ENABLED") != "0" or "--disable-usage-stats" not in command:
            yield f"{name}: reports its usage"
        if "--head" in command and "--include-dashboard=false" not in command:
            yield f"{name}: starts the dashboard"


@rule
def no_service_keeps_rights_that_it_does_not_need(compose: Compose) -> Iterator[str]:
    for name, service in compose["services"].items():
        if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{name}: may gain privileges"


def _set(path: str, value: Any) -> Callable[[Compose], None]:
    def breaking(compose: Compose) -> None:
        *around, last = path.split("/")
        here = compose["services"]
        for key in around:
            here = here[key]
        here[last] = value

    return breaking


BREAKAGES: list[tuple[Rule, Callable[[Compose], None]]] = [
    (every_variable_is_read_by_the_settings, _set("api/environment/PROLU_DATA_DIRECTORY", "/x")),
    (every_other_variable_is_known, _set("bucket/environment/BUKCET", "x")),
    (the_settings_accept_every_value, _set("api/environment/PROLU_HUB", "sometimes")),
    (every_port_is_that_of_the_service_it_names, _set("api/environment/PROLU_PORT", "8322")),
    (every_port_is_that_of_the_service_it_names, _set("dispatcher/environment/PROLU_RAY_ADDRESS", "ray-head:6380")),
    (every_port_is_that_of_the_service_it_names, _set("api/environment/AWS_ENDPOINT_URL", "http://store:9000")),
    (a_service_shares_a_network_with_those_it_names, _set("api/networks", ["front", "objects"])),
    (nothing_but_the_api_is_published_and_that_on_loopback, _set("postgres/ports", ["127.0.0.1:5432:5432"])),
    (nothing_but_the_api_is_published_and_that_on_loopback, _set("api/ports", ["8321:8321"])),
    (nothing_but_the_api_is_published_and_that_on_loopback, _set("store/network_mode", "host")),
    (every_volume_is_declared_and_used, _set("api/volumes", ["stat:/var/lib/prolu"])),
    (every_network_is_declared_and_used, _set("api/networks", ["back"])),
    (every_secret_is_required_from_the_environment, _set("postgres/environment/POSTGRES_PASSWORD", "prolu")),
    (every_secret_is_required_from_the_environment, _set("store/environment/AWS_ACCESS_KEY_ID", "${KEY:-admin}")),
    (every_secret_is_required_from_the_environment, _set("ray-head/environment/RAY_AUTH_TOKEN", "${TOKEN:?}")),
    (every_service_has_a_health_check_or_is_one_shot, _set("bucket/restart", "always")),
    (every_dependency_exists_and_can_come_true, _set("api/depends_on/redis", {"condition": "service_healthy"})),
    (every_dependency_exists_and_can_come_true, _set("api/depends_on/migrate", {"condition": "service_healthy"})),
    (
        every_dependency_exists_and_can_come_true,
        _set("migrate/depends_on/postgres", {"condition": "service_completed_successfully"}),
    ),
    (gpu_workers_cannot_reach_the_database, _set("ray-gpu-worker/networks", ["cluster", "database"])),
    (gpu_workers_cannot_reach_the_database, _set("ray-gpu-worker/environment/PROLU_DATABASE_URL", "x")),
    (every_part_of_ray_asks_for_the_token_and_reports_nothing, _set("ray-head/environment/RAY_AUTH_MODE", "disabled")),
    (every_part_of_ray_asks_for_the_token_and_reports_nothing, _set("ray-head/command", ["ray start", "--head"])),
    (no_service_keeps_rights_that_it_does_not_need, _set("api/cap_drop", [])),
]


@pytest.mark.parametrize("holds", RULES, ids=lambda holds: holds.__name__)
def test_the_compose_file_keeps_the_rule(holds, compose):
    assert list(holds(compose)) == []


@pytest.mark.parametrize(("holds", "spoil"), BREAKAGES, ids=[holds.__name__ for holds, _ in BREAKAGES])
def test_the_rule_notices_a_file_that_breaks_it(holds, spoil, compose):
    spoil(compose)
    assert list(holds(compose))


def test_every_rule_was_seen_to_fail():
    assert {holds for holds, _ in BREAKAGES} == set(RULES)


def test_the_example_of_the_environment_names_each_variable_once_and_no_secret(root):
    text = (root / ".env.example").read_text()
    lines = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert set(lines) == {match["name"] for match in VARIABLE.finditer((root / "docker-compose.yml").read_text())}
    assert [name for name, value in lines.items() if SECRET.search(name) and value] == []
    assert text.count("\n\n") > 2


def test_the_defaults_of_the_example_are_those_of_the_compose_file(root):
    text = (root / ".env.example").read_text()
    lines = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    for match in VARIABLE.finditer((root / "docker-compose.yml").read_text()):
        if match["operator"] == "-":
            assert lines[match["name"]] == match["rest"], match["name"]
