"""A process of its own that opens a language model's activations, for tests that kill it or wait for it.

Argument: a JSON object with the spec, the cache folder, the data roots, the size of a shard, the number of threads, and how
many activations to extract before it says `held` and waits for a line on its standard input. It says `done` when it has opened
the source.
"""

import json
import sys
from pathlib import Path

import torch

from prolu.data.activations import open_language_model
from prolu.data.places import Places
from prolu.spec import LanguageModelData
from prolu.spec.report import Progress


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main() -> None:
    order = json.loads(sys.argv[1])
    torch.set_num_threads(order["threads"])
    held = False

    def notify(progress: Progress) -> None:
        nonlocal held
        if progress.phase == "extracting" and progress.done >= order["hold_at"] and not held:
            held = True
            say("held")
            sys.stdin.readline()

    open_language_model(
        LanguageModelData.model_validate(order["spec"]),
        Places(Path(order["cache_dir"]), tuple(Path(root) for root in order["data_roots"]), hub_online=False),
        notify=notify,
        should_stop=lambda: False,
        shard_bytes=order["shard_bytes"],
    )
    say("done")


if __name__ == "__main__":
    main()
