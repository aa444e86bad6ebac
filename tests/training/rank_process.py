"""One rank of two, in a process of its own; it trains what it is given with the other, by gloo.

Arguments: a file with JSON `folder`, `stop_at` and `orders` (each with `case` and `spec`), and the rank. Below the folder,
for each case and each of its trainings (`whole`, `before` the stop, `after` it), the reports of each rank go to
`{case}/{training}-{rank}.jsonl`, and checkpoints to `{case}/{training}`.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import torch
from torch.distributed import FileStore

from prolu.data.synthetic import SyntheticSource
from prolu.spec import RunSpec
from prolu.spec.data import SyntheticData
from prolu.spec.report import MetricPoint, Report
from prolu.training import CheckpointStore, train
from prolu.training.gang import Gang


def main() -> None:
    torch.set_num_threads(1)
    given, rank = json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2])
    folder = Path(given["folder"])
    gang = Gang(FileStore(str(folder / "meeting")), rank, 2, host="127.0.0.1")
    for order in given["orders"]:
        spec = RunSpec.model_validate(order["spec"])
        root = folder / order["case"]
        root.mkdir(exist_ok=True)
        stop_at = given["stop_at"]
        train_once(gang, spec, root, "whole")
        train_once(gang, spec, root, "before", stop_after=stop_at)
        train_once(gang, spec, root, "after", resume_from=f"before/step-{stop_at}")


def train_once(
    gang: Gang, spec: RunSpec, root: Path, name: str, *, stop_after: int | None = None, resume_from: str | None = None
) -> None:
    assert isinstance(spec.data, SyntheticData)
    stopping = threading.Event()
    with (root / f"{name}-{gang.rank}.jsonl").open("w") as lines:

        def hear(report: Report) -> None:
            print(report.model_dump_json(), file=lines)
            if isinstance(report, MetricPoint) and report.step == stop_after:
                stopping.set()

        outcome = train(
            spec,
            SyntheticSource(spec.data),
            checkpoints=CheckpointStore(str(root), name),
            sink=hear,
            should_stop=lambda: "pause" if stopping.is_set() else None,
            resume_from=resume_from,
            ranks=gang,
        )
        lines.write(outcome.model_dump_json())
    gang.agree(0)  # the checkpoint of the leader is there


if __name__ == "__main__":
    main()
