"""The job language: the only definition of what a run and a sweep are, and of what they report. Torch-free."""

from prolu.spec.base import canonical_json, digest_of
from prolu.spec.data import (
    Corpus,
    DataSpec,
    HubCorpus,
    JsonlCorpus,
    LanguageModelData,
    ParquetCorpus,
    PythonDocsCorpus,
    ShardsData,
    SyntheticData,
    TextCorpus,
)
from prolu.spec.document import is_sweep, json_schema, parse, validate
from prolu.spec.mistakes import Mistake, SpecError, explain
from prolu.spec.resources import ResourcesSpec
from prolu.spec.run import RunSpec
from prolu.spec.sae import Estimator, ProluSae, ReluLike, ReluSae, SaeSpec, Ste
from prolu.spec.sparsity import L1, SparsitySpec, SqrtL1
from prolu.spec.sweep import SweepSpec, Variant
from prolu.spec.training import AdamSpec, TrainingSpec

__all__ = [
    "L1",
    "AdamSpec",
    "Corpus",
    "DataSpec",
    "Estimator",
    "HubCorpus",
    "JsonlCorpus",
    "LanguageModelData",
    "Mistake",
    "ParquetCorpus",
    "ProluSae",
    "PythonDocsCorpus",
    "ReluLike",
    "ReluSae",
    "ResourcesSpec",
    "RunSpec",
    "SaeSpec",
    "ShardsData",
    "SparsitySpec",
    "SpecError",
    "SqrtL1",
    "Ste",
    "SweepSpec",
    "SyntheticData",
    "TextCorpus",
    "TrainingSpec",
    "Variant",
    "canonical_json",
    "digest_of",
    "explain",
    "is_sweep",
    "json_schema",
    "parse",
    "validate",
]
