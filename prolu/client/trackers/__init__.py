"""Export runs to the trackers that a lab uses already.

from prolu.client.trackers import TensorBoard

client.track(sweep.id, to=TensorBoard("boards"))

tracker      what every tracker must do, and what it is told of a run
rows         metrics and bias snapshots as rows by step
moments      at what time a step was done
exporting    runs and sweeps brought into books, once or as they come
tensorboard, mlflow, wandb    one tracker each; their packages are imported when the first book is opened
"""

from prolu.client.trackers.exporting import Exported
from prolu.client.trackers.mlflow import MLflow
from prolu.client.trackers.rows import Bins, Row
from prolu.client.trackers.tensorboard import TensorBoard
from prolu.client.trackers.tracker import Book, ExportFailed, Subject, Tracker
from prolu.client.trackers.wandb import WeightsAndBiases

__all__ = [
    "Bins",
    "Book",
    "ExportFailed",
    "Exported",
    "MLflow",
    "Row",
    "Subject",
    "TensorBoard",
    "Tracker",
    "WeightsAndBiases",
]
