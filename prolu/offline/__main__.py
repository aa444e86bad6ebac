"""`python -m prolu.offline`: the commands put together, and every expected error as one line and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import typer
from typer.exceptions import TyperException

from prolu.analysis.gradient_alignment import NotComparable
from prolu.data.places import DataError
from prolu.export import ExportError, SaeLensError
from prolu.models.artifacts import StorageError
from prolu.models.saved import CheckpointError
from prolu.offline import aligning, biases, evaluating, exporting
from prolu.spec.mistakes import SpecError

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="prolu.offline",
    help="Work on the files of checkpoints, without a service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _commands() -> None:
    """Keep the name of the command on the command line, be there one or many."""


COMMANDS: tuple[Callable[..., None], ...] = (
    biases.biases,
    evaluating.evaluate,
    aligning.align,
    exporting.export,
)
for _command in COMMANDS:
    app.command()(_command)


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit status; expected errors become one line each, never a traceback.

    0 done, 1 the store failed or the export cannot be, 2 bad input: options, specs, data or files that are no checkpoint.
    """
    try:
        status = app(args=list(arguments), prog_name="python -m prolu.offline", standalone_mode=False)
    except TyperException as error:
        return _end(error.exit_code, error.format_message())
    except SpecError as error:
        return _end(BAD_INPUT, *(mistake.sentence for mistake in error.mistakes))
    except (CheckpointError, SaeLensError, DataError, NotComparable) as error:
        return _end(BAD_INPUT, str(error))
    except (StorageError, ExportError) as error:
        return _end(FAILED, str(error))
    except (KeyboardInterrupt, typer.Abort):
        return _end(INTERRUPTED, "interrupted")
    return status if isinstance(status, int) else OK


def _end(status: int, *sentences: str) -> int:
    for sentence in filter(None, sentences):
        typer.echo("prolu: " + " ".join(sentence.split()), err=True)
    return status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
