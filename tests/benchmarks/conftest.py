"""The scripts of benchmarks/ import each other by name, as they do when they are called."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
