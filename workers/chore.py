"""One chore on one checkpoint, in a process of its own on a node. Knows neither Ray nor SQL.

It writes below its own folder alone: what nobody records, nobody offers.
"""

from __future__ import annotations

import json
import logging

from workers.messages import ChoreAnswer, ChoreOrder

log = logging.getLogger(__name__)


def do(order: ChoreOrder) -> ChoreAnswer:
    """Do it and say what came of it; whatever goes wrong is an answer too."""
    # Imported here: torch takes seconds, and whoever only names this function needs none.
    from prolu.export import ExportError
    from prolu.models.artifacts import StorageError
    from prolu.models.saved import CheckpointError

    try:
        return ChoreAnswer("done", _export(order) if order.kind == "export" else _recompute(order))
    except CheckpointError as error:
        return ChoreAnswer("failed", str(error))
    except ExportError as error:  # a full disk may have room later
        return ChoreAnswer("lost" if isinstance(error.__cause__, OSError) else "failed", str(error))
    except StorageError as error:
        return ChoreAnswer("lost", str(error))
    except MemoryError as error:
        return ChoreAnswer("lost", f"The node ran out of memory: {error}.")
    except Exception as error:  # of a library, with one checkpoint: an answer, not the end of whoever waits
        log.exception("The chore on %s failed.", order.checkpoint)
        return ChoreAnswer("failed", f"{type(error).__name__}: {error}")


def _export(order: ChoreOrder) -> str:
    """Write the export where nobody else writes; the last file is there before anybody is told."""
    from prolu.export import export_checkpoint
    from prolu.models.artifacts import ArtifactFolder
    from prolu.spec.run import ExportFormat
    from prolu.training.checkpoint import described

    layout: ExportFormat = order.format  # type: ignore[assignment] # of a row that the API has validated
    source = ArtifactFolder(order.artifact_root, order.checkpoint)
    target = ArtifactFolder(order.artifact_root, order.target)
    with target.staging() as staging:
        report = export_checkpoint(source.url, layout, staging / layout)
        files = [described(staging / layout / name, f"{layout}/{name}") for name in report.files]
        for file in files:
            target.publish(staging, file.name)
    return json.dumps({"files": [file.model_dump() for file in files], "notes": report.notes})


def _recompute(order: ChoreOrder) -> str:
    from prolu.analysis.recompute import recompute_bias_statistics
    from prolu.models.artifacts import ArtifactFolder

    snapshot = recompute_bias_statistics(ArtifactFolder(order.artifact_root, order.checkpoint).url)
    return snapshot.model_dump_json(exclude={"kind"})
