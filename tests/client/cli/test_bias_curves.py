"""`prolu biases --against` and `client.*.biases`."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

from prolu.client import Client
from prolu.client.cli.app import BAD_INPUT, OK
from tests.client.conftest import Prolu


def test_biases_are_told_against_a_field(prolu: Prolu, client: Client, finished: UUID, tmp_path: Path) -> None:
    status, out, _ = prolu("biases", str(finished), "--against", "spec.sparsity.coefficient")
    assert status == OK
    assert "spec.sparsity.coefficient" in out
    assert "prolu ste" in out
    answer = json.loads(prolu("biases", "--against", "spec.sae.kind", "--by", "none", "-f", "step > 0", "--json")[1])
    assert [point["x"] for point in answer["curves"][0]["points"]] == ["prolu", "relu"]
    assert "the picture is in b.svg" in prolu("biases", "last", "--against", "spec.sae.kind", "--plot", "b.svg")[2]
    assert "spec.sae.kind" in (tmp_path / "b.svg").read_text()
    records = client.sweeps.biases(finished, bins=4).records()
    assert records[0]["bias.mean.mean"] == -1.0
    assert len(records[0]["edges"]) == 5
    assert len(client.results.biases(x="spec.sae.d_sae", by="none")) == 1


def test_a_filter_without_a_field_is_bad_input(prolu: Prolu, finished: UUID) -> None:
    assert prolu("biases", "--filter", "step > 0")[0] == BAD_INPUT
    assert "is not a path" in prolu("biases", "--against", "nothing")[2]
