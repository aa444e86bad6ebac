import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("PROLU_LEASE_SECONDS", "-1", "PROLU_LEASE_SECONDS"),
        ("PROLU_DATABASE_URL", "mysql://somewhere/x", "mysql"),
        ("PROLU_HUB", "offline", "PROLU_RAY_ADDRESS"),
    ],
    ids=["out of range", "an unknown database", "no Ray cluster is named"],
)
def test_a_wrong_setting_is_told_in_a_sentence_with_exit_status_2(
    tmp_path: Path, variable: str, value: str, told: str
) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS" and "PROLU" not in name}
    ended = subprocess.run(
        [sys.executable, "-m", "workers"],
        env=environment | {"PROLU_DATA_DIR": str(tmp_path), variable: value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
