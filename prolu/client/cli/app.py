"""The `prolu` command put together, and every expected error as lines on standard error and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

import typer
from typer.exceptions import TyperException

from prolu.client.cli import (
    auditing,
    biases,
    charts,
    comparing,
    diagnostics,
    exporting,
    filing,
    frontiers,
    keeping,
    listing,
    looking,
    measuring,
    people,
    pruning,
    pushing,
    queueing,
    reading_logs,
    searching,
    sharing,
    starting,
    submitting,
    tokens,
    tracking,
    watching,
    wishing,
)
from prolu.client.cli.documents import BadInput, placed
from prolu.client.cli.output import note
from prolu.client.cli.references import NoSuchThing
from prolu.client.errors import (
    ApiError,
    ConnectionFailed,
    Forbidden,
    Invalid,
    NoSuchUser,
    NotFound,
    ProluError,
    Unauthorized,
    UnusableToken,
)
from prolu.spec import SpecError

OK, FAILED, BAD_INPUT, OUT_OF_REACH, NOT_YOURS, INTERRUPTED = 0, 1, 2, 3, 4, 130

_EPILOG = (
    "Exit status: 0 done, 1 a run did not succeed or another failure, 2 bad input, 3 the service is out of reach, "
    "4 not authorised or no such thing, 130 interrupted."
)

app = typer.Typer(
    name="prolu",
    help="Train sparse autoencoders through a shared queue: start the service, submit sweeps, read their results.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
COMMANDS: tuple[Callable[..., None], ...] = (
    starting.up,
    submitting.submit,
    submitting.sweep,
    submitting.preview,
    listing.ls,
    listing.runs,
    listing.sweeps,
    looking.show,
    watching.watch,
    watching.wait,
    reading_logs.logs,
    queueing.queue,
    queueing.explain,
    queueing.shares,
    queueing.nodes,
    queueing.drain,
    queueing.undrain,
    wishing.cancel,
    wishing.pause,
    wishing.resume,
    wishing.retry,
    wishing.clone,
    wishing.extend,
    wishing.priority,
    sharing.share,
    sharing.unshare,
    searching.trials,
    looking.results,
    frontiers.frontier,
    charts.metrics,
    comparing.compare,
    biases.biases,
    diagnostics.diagnostics,
    keeping.download,
    pruning.checkpoints,
    pruning.verify,
    pruning.prune,
    pruning.delete,
    filing.pin,
    filing.unpin,
    filing.tag,
    filing.note,
    filing.archive,
    filing.unarchive,
    exporting.export,
    tracking.track,
    pushing.push,
    measuring.evaluate,
    measuring.align,
    submitting.schema,
    people.whoami,
    auditing.audit,
    looking.version,
)
GROUPS = (people.users, tokens.tokens)
for _command in COMMANDS:
    app.command()(_command)
for _group in GROUPS:
    app.add_typer(_group)


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status; expected errors become one line each, never a traceback."""
    try:
        status = app(args=list(arguments), prog_name="prolu", standalone_mode=False)
        sys.stdout.flush()
    except BadInput as error:
        return _end(BAD_INPUT, *error.lines)
    except TyperException as error:
        return _end(error.exit_code, error.format_message()) if error.format_message() else error.exit_code
    except SpecError as error:
        return _end(BAD_INPUT, *(mistake.sentence for mistake in error.mistakes))
    except Invalid as error:
        return _end(BAD_INPUT, *_mistakes(error))
    except ConnectionFailed as error:
        return _end(OUT_OF_REACH, str(error))
    except (Unauthorized, UnusableToken, Forbidden, NotFound, NoSuchThing, NoSuchUser) as error:
        return _end(NOT_YOURS, str(error))
    except ApiError as error:
        return _end(FAILED, f"{error} (request {error.problem.request_id})")
    except ProluError as error:
        return _end(FAILED, str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit is silent
        return FAILED
    except OSError as error:
        return _end(FAILED, f"{error.filename or 'The system'}: {error.strerror or error}.")
    except typer.Abort:
        status = INTERRUPTED
    if status == INTERRUPTED:  # what typer makes of KeyboardInterrupt
        return _end(INTERRUPTED, "interrupted; what was submitted goes on")
    return status if isinstance(status, int) else OK


def _mistakes(error: Invalid) -> list[str]:
    """One line per wrong field of the body or parameter, or the problem's own sentence."""
    return [placed(item) for item in error.problem.errors] or [error.problem.detail]


def _end(status: int, *lines: str) -> int:
    for line in lines:
        note("prolu: " + " ".join(line.split()))
    return status
