"""The model card of a pushed checkpoint: YAML that the hub reads, and Markdown that people do. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from prolu.client.harmless import harmless
from prolu.client.wire import CheckpointRead, RunRead
from prolu.spec.data import LanguageModelData
from prolu.spec.run import ExportFormat

# By what the hub calls each library.
_LIBRARIES: dict[ExportFormat | None, str] = {
    None: "prolu",
    "sae_lens": "saelens",
    "dictionary_learning": "dictionary_learning",
}
_LOADERS: dict[ExportFormat | None, str] = {
    None: "from prolu.models.saved import load_sae\n\nsae = load_sae(folder)",
    "sae_lens": "from sae_lens import SAE\n\nsae = SAE.load_from_disk(folder)",
    "dictionary_learning": (
        "from dictionary_learning.utils import load_dictionary\n\n"
        'dictionary, config = load_dictionary(folder, device="cpu")'
    ),
}


def model_card(
    run: RunRead, checkpoint: CheckpointRead, repo_id: str, *, layout: ExportFormat | None, path: str
) -> str:
    """Write README.md for a checkpoint that lies at `path` of a repository, in our own layout or another library's."""
    return "\n".join(
        [
            "---",
            yaml.safe_dump(_front_matter(run, layout), sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            f"# {_line(run.name or run.variant or repo_id.rpartition('/')[2])}",
            "",
            _first_words(run, checkpoint),
            "",
            *_metrics(run, checkpoint),
            "## Load it",
            "",
            "```python",
            "from huggingface_hub import snapshot_download",
            _LOADERS[layout].replace("(folder", f"({_folder(repo_id, path)}"),
            "```",
            "",
            "## How it was trained",
            "",
            "```yaml",
            yaml.safe_dump(run.spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip(),
            "```",
            "",
            f"Run `{run.id}`, checkpoint `{checkpoint.id}`, digest of the spec `{run.digest}`.",
            "",
        ]
    )


def _front_matter(run: RunRead, layout: ExportFormat | None) -> dict[str, Any]:
    said: dict[str, Any] = {
        "library_name": _LIBRARIES[layout],
        "tags": ["sparse-autoencoder", "prolu", "mechanistic-interpretability", f"sae-{run.spec.sae.kind}"],
    }
    if (model := _hub_model(run)) is not None:
        said["base_model"] = model
    return said


def _hub_model(run: RunRead) -> str | None:
    """The model whose activations it reads, if that has an id on the hub: `owner/name`, or a bare name as `gpt2`."""
    data = run.spec.data
    if not isinstance(data, LanguageModelData) or ":" in data.model or data.model.startswith(("/", ".", "~")):
        return None
    return data.model if data.model.count("/") <= 1 else None


def _first_words(run: RunRead, checkpoint: CheckpointRead) -> str:
    return (
        f"A sparse autoencoder (`{run.spec.sae.kind}`, {run.spec.sae.d_sae:,} latents), {_trained_on(run)}. "
        f"It was trained with prolu for {checkpoint.step:,} of {run.total_steps:,} steps, "
        f"which are {checkpoint.tokens:,} activations."
    )


def _trained_on(run: RunRead) -> str:
    data = run.spec.data
    if isinstance(data, LanguageModelData):
        return f"which reads `{data.hook}` of block {data.block} of `{_line(data.model)}`"
    return f"which reads activations of the kind `{data.kind}`"


def _metrics(run: RunRead, checkpoint: CheckpointRead) -> list[str]:
    """The final held-out metrics, where they are this checkpoint's."""
    if not run.metrics or not checkpoint.final:
        return []
    rows = [f"| {_line(name)} | {value:.6g} |" for name, value in sorted(run.metrics.items())]
    return ["## Held-out metrics", "", "| metric | value |", "| --- | ---: |", *rows, ""]


def _folder(repo_id: str, path: str) -> str:
    below = f' + "/{path}"' if path else ""
    return f'snapshot_download("{repo_id}"){below}'


def _line(text: str) -> str:
    """What people named, on one line and without what Markdown or a terminal would obey."""
    return " ".join(harmless(text).replace("`", "'").replace("|", "/").split())
