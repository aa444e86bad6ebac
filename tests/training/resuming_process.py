"""A process of its own that resumes runs as a worker would: spec, places, root and checkpoint are all that it is given.

Argument: a file with a JSON list of orders, each with `spec`, `root`, `resume_from` and `places` (cache folder and data root).
Writes the reports of each run, one a line, to `reports.jsonl` below the order's root.
"""

import json
import sys
from pathlib import Path

import torch

from prolu.data.opening import open_source
from prolu.data.places import Places
from prolu.spec import RunSpec
from prolu.training import CheckpointStore, train


def main() -> None:
    torch.set_num_threads(1)
    for order in json.loads(Path(sys.argv[1]).read_text()):
        spec = RunSpec.model_validate(order["spec"])
        cache_dir, data_root = order["places"]
        places = Places(cache_dir=Path(cache_dir), data_roots=(Path(data_root),), hub_online=False)
        with Path(order["root"], "reports.jsonl").open("w") as lines:
            outcome = train(
                spec,
                open_source(spec.data, places=places, notify=lambda _progress: None, should_stop=lambda: False),
                checkpoints=CheckpointStore(order["root"], "runs/a/e2"),
                sink=lambda report: print(report.model_dump_json(), file=lines),
                should_stop=lambda: None,
                resume_from=order["resume_from"],
            )
            lines.write(outcome.model_dump_json())


if __name__ == "__main__":
    main()
