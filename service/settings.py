"""The operator's settings: the one place that names environment variables.

Every field is read from `PROLU_<NAME>`; the few that other tools share are named where they stand.
"""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from prolu.spec.urls import ObjectUrl, split_roots
from service.domain.planning import Policy


def _split_roots(value: Any) -> Any:
    return split_roots(value) if isinstance(value, str) else value


# Statements take milliseconds, the longest a few seconds; whoever takes this long for one is as good as gone.
LONGEST_PATIENCE_SECONDS = 30.0

Roots = Annotated[tuple[Path | ObjectUrl, ...], NoDecode, BeforeValidator(_split_roots)]


class Settings(BaseSettings):
    """What the operator decides; the defaults run everything on one machine, below one folder."""

    model_config = SettingsConfigDict(
        env_prefix="PROLU_",
        use_attribute_docstrings=True,
        validate_default=True,
        frozen=True,
        populate_by_name=True,
        extra="ignore",
    )

    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("prolu"))
    """Folder of everything that is kept; the defaults below lie in it."""
    database_url: str = Field(default="", repr=False)
    """SQLAlchemy URL: `sqlite:///file`, or `postgresql+psycopg://user:password@host/name`. Default: SQLite in data_dir."""
    artifact_root: str = ""
    """Where checkpoints go, as a path or an fsspec URL such as `s3://bucket/prefix`. Default: data_dir/artifacts."""
    cache_dir: Path = Path()
    """Extracted activations and converted models, shared by every run of a node. Default: data_dir/cache."""
    data_roots: Roots = ()
    """Folders and `s3://`, `gs://` URLs that specs may read below; split as PATH is, save at `://`. Default: data_dir/data."""
    host: str = "127.0.0.1"
    """Address that the API listens on."""
    port: int = Field(default=8321, ge=0, le=65_535)
    """Port that the API listens on; 0 takes a free one."""
    token_file: Path = Path()
    """Bearer token of the first administrator, made at the first start with mode 600. Default: data_dir/token."""
    token_days: float = Field(default=90.0, gt=0)
    """How long a new token is good, in days, if whoever makes it says nothing else."""
    max_token_days: float = Field(default=366.0, gt=0, le=36_500)
    """How long a new token may be good at most, in days; that of the token file does not end."""
    hub: Literal["check", "trust", "offline"] = "check"
    """Hugging Face names in specs: `check` asks the hub, `trust` believes them, `offline` takes only what is cached."""
    max_body_bytes: int = Field(default=1_000_000, ge=1_000)
    """Longest request body that is read."""
    max_streams: int = Field(default=2_000, ge=1)
    """Clients that may follow logs, metrics and events at once; more are asked to come back later. Each takes a descriptor."""
    stream_seconds: float = Field(default=900.0, gt=0)
    """How long one follows before the connection is closed; clients come back by themselves."""
    presigned_seconds: int = Field(default=0, ge=0, le=604_800)
    """Downloads from S3 are sent there by a signed address that anybody may read for so long; 0, the default, sends the bytes."""
    metrics_open: bool = False
    """Whether the API serves `/metrics` without a token. Default: whoever scrapes sends a bearer token as everybody does."""
    metrics_host: str = "127.0.0.1"
    """Address that the dispatcher serves its own metrics on, without a token."""
    metrics_port: int = Field(default=0, ge=0, le=65_535)
    """Port that the dispatcher serves its own metrics on; 0, the default, serves none."""
    ray_address: str | None = Field(default=None, validation_alias=AliasChoices("PROLU_RAY_ADDRESS", "RAY_ADDRESS"))
    """Address of the Ray cluster to join; `RAY_ADDRESS` is read too. Default: none."""
    ray_namespace: str = "prolu"
    """Ray namespace of our actors; two services on one cluster need two."""
    lease_seconds: float = Field(default=60.0, gt=0)
    """An attempt that was not heard of for so long is given up."""
    orphan_seconds: float = Field(default=300.0, gt=0)
    """A worker that nobody polled for so long writes a checkpoint and ends."""
    poll_seconds: float = Field(default=0.5, gt=0)
    """Pause between two turns of the dispatcher."""
    stop_grace_seconds: float = Field(default=30.0, ge=0)
    """A run that was asked to stop has so long to write its checkpoint."""
    on_exit: Literal["leave", "drain"] = "leave"
    """What the dispatcher does with live runs when it ends: `leave` them training, or `drain` them to checkpoints."""
    chores_at_once: int = Field(default=2, ge=1, le=100)
    """Exports and other small jobs on checkpoints that are done at once; they take one thread each and nothing from runs."""
    chore_seconds: float = Field(default=900.0, gt=0)
    """A small job on a checkpoint that takes longer fails."""
    leader_seconds: float = Field(default=10.0, gt=0)
    """Of several dispatchers one leads; another takes over once it was silent for so long."""
    start_limit_seconds: float = Field(default=900.0, gt=0)
    """An attempt that has said nothing so long after its claim is lost; a run's own limits.start_seconds goes first."""
    no_progress_limit_seconds: float = Field(default=7_200.0, gt=0)
    """An attempt that reports nothing new for so long is ended; a run's own limits.no_progress_seconds goes first."""
    half_life_days: float = Field(default=7.0, gt=0)
    """Usage of the cluster counts half in the shares after so many days."""
    max_gpus_per_user: float | None = Field(default=None, gt=0)
    """GPUs that one user's runs may hold at once. Default: no limit."""
    max_queued_per_user: int | None = Field(default=None, ge=1)
    """Runs of one user that may wait at once, unless administrators set another limit for them. Default: no limit."""
    max_requests_per_second: float | None = Field(default=None, gt=0)
    """Requests that one user may send each process of the API, per second in the long run; 429 beyond. Default: no limit."""
    request_burst: int = Field(default=200, ge=1)
    """Requests that one user may send at once after a pause, where PROLU_MAX_REQUESTS_PER_SECOND is set."""
    min_run_seconds: float = Field(default=600.0, ge=0)
    """What an attempt of a preemptible run may train before it can be stopped for others."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is logged."""
    log_format: Literal["text", "json"] = "text"
    """How logs are written."""
    holder: str = Field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}", min_length=1, max_length=200)
    """Name of this dispatcher in leases, to which each process adds letters of its own. Default: host name and process id."""
    hub_endpoint: str = Field(
        default="https://huggingface.co",
        validation_alias=AliasChoices("PROLU_HUB_ENDPOINT", "HF_ENDPOINT"),
    )
    """Address of the Hugging Face hub; `HF_ENDPOINT` is read too."""
    hub_token: SecretStr | None = Field(default=None, validation_alias=AliasChoices("PROLU_HUB_TOKEN", "HF_TOKEN"))
    """Token for gated models and datasets on the hub; `HF_TOKEN` is read too. Sent to the hub alone, never shown."""
    hub_cache: Path = Field(
        default=Path("~/.cache/huggingface/hub"),
        validation_alias=AliasChoices("PROLU_HUB_CACHE", "HF_HUB_CACHE"),
    )
    """Local cache of the hub, where `offline` looks; `HF_HUB_CACHE` is read too."""

    @property
    def policy(self) -> Policy:
        """How the queue is planned."""
        return Policy(
            max_gpus_per_user=self.max_gpus_per_user,
            half_life_seconds=self.half_life_days * 86_400,
            min_run_seconds=self.min_run_seconds,
            stop_grace_seconds=self.stop_grace_seconds,
        )

    @property
    def database_patience_seconds(self) -> float:
        """How long the dispatcher waits for one answer of PostgreSQL: workers that it polls no more must not become orphans."""
        return min(LONGEST_PATIENCE_SECONDS, self.orphan_seconds / 4)

    @property
    def data_folders(self) -> tuple[Path, ...]:
        """The data roots that are folders."""
        return tuple(root for root in self.data_roots if isinstance(root, Path))

    @property
    def data_urls(self) -> tuple[ObjectUrl, ...]:
        """The data roots that are prefixes of object stores."""
        return tuple(root for root in self.data_roots if isinstance(root, ObjectUrl))

    @model_validator(mode="after")
    def _tell_processes_apart(self) -> Self:
        # Two dispatchers of one name, as where hosts are clones, would take each other's lead for their own.
        object.__setattr__(self, "holder", f"{self.holder}/{secrets.token_hex(4)}")
        return self

    @model_validator(mode="after")
    def _fill_in_places(self) -> Self:
        home = self.data_dir.expanduser().absolute()
        places: dict[str, Any] = {
            "data_dir": home,
            "database_url": self.database_url or f"sqlite:///{home / 'prolu.db'}",
            "artifact_root": self.artifact_root or str(home / "artifacts"),
            "cache_dir": _below(home, self.cache_dir, "cache"),
            "data_roots": tuple(_absolute(root) for root in self.data_roots) or (home / "data",),
            "token_file": _below(home, self.token_file, "token"),
            "hub_cache": self.hub_cache.expanduser(),
        }
        for name, place in places.items():
            object.__setattr__(self, name, place)  # frozen for everybody else
        return self


def _absolute(root: Path | ObjectUrl) -> Path | ObjectUrl:
    return root.expanduser().absolute() if isinstance(root, Path) else root


def _below(home: Path, chosen: Path, default: str) -> Path:
    return home / default if chosen == Path() else chosen.expanduser().absolute()


class WrongSetting(ValueError):
    """A setting is wrong; the sentence names its variable. A process that meets it ends with exit status 2."""


def read_settings() -> Settings:
    """Read the settings from the environment. Raises WrongSetting."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "PROLU_" + "_".join(str(part) for part in first["loc"]).upper()
        raise WrongSetting(f"The setting {name} is wrong: {first['msg']}; correct it.") from None
