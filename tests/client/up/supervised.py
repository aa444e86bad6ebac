"""A program for the tests: supervises children that a JSON document on the command line describes.

Each child is a small Python script; what happens goes to standard output, one line each.
"""

import json
import sys
from pathlib import Path

from prolu.client.up.supervisor import Child, GivenUp, Patience, Supervisor, WrongSettings


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def main() -> int:
    plan = json.loads(sys.argv[1])
    folder = Path(plan["folder"])
    children = [
        Child(
            name=child["name"],
            argv=(sys.executable, "-I", "-S", "-c", child["script"], str(folder / "alive")),
            env={},
            log=folder / f"{child['name']}.log",
            grace_seconds=child.get("grace_seconds", 5.0),
            ready=lambda log: "ready" in log,
            ready_seconds=child.get("ready_seconds", 30.0),
            may_be_late=child.get("may_be_late", False),
            after=tuple(child.get("after", ())),
            falls_with=tuple(child.get("falls_with", ())),
        )
        for child in plan["children"]
    ]
    patience = Patience(first_delay_seconds=plan["patience_seconds"], quick_deaths=3)
    try:
        Supervisor(children, say=say, patience=patience).run(lambda: say("all ready"))
    except WrongSettings as error:
        say(f"wrong settings: {error}")
        return 2
    except GivenUp as error:
        say(f"given up: {error}")
        return 1
    say("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
