"""`prolu up`: the whole stack on this machine, until Ctrl-C."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prolu.client.cli.documents import BadInput
from prolu.client.cli.output import note
from prolu.client.locate import data_dir as default_data_dir

_HOST = "127.0.0.1"
_PORT = 8321


def up(
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where everything is kept; by default PROLU_DATA_DIR or the user's."),
    ] = None,
    host: Annotated[str, typer.Option(envvar="PROLU_HOST", help="Address to listen on.")] = _HOST,
    port: Annotated[
        int, typer.Option(envvar="PROLU_PORT", min=0, max=65_535, help="Port to listen on; 0 takes any free one.")
    ] = _PORT,
    cpus: Annotated[int | None, typer.Option(min=1, help="CPU cores for training; by default all.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs for training; by default all.")] = None,
) -> None:
    """Run the service, its dispatcher and Ray on this machine until Ctrl-C."""
    from prolu.client.up.holding import Held
    from prolu.client.up.stack import Refused, Wishes, up
    from prolu.client.up.supervisor import GivenUp, WrongSettings

    place = data_dir.expanduser().absolute() if data_dir is not None else default_data_dir()
    try:
        up(Wishes(data_dir=place, host=host, port=port, cpus=cpus, gpus=gpus), say=note)
    except (Held, Refused) as error:
        raise BadInput(str(error)) from None
    except WrongSettings as error:
        note(f"prolu: {error}")
        raise typer.Exit(2) from None
    except GivenUp as error:
        note(f"prolu: {error}")
        raise typer.Exit(1) from None
