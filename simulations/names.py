"""What a run calls things: points, and the folder of a run that Flower's command started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs


def point_name(epsilon: float, seed: int) -> str:
    """Name of a point's files, such as `eps-8-seed-0`; different for any two points."""
    return f"eps-{repr(epsilon).removesuffix('.0').replace('+', '')}-seed-{seed}"


def directory_of(run_config: Mapping[str, object], run_id: int) -> Path:
    """Where a run keeps its files: the same folder for the server and every actor of a machine.

    Parameters
    ----------
    run_config : mapping
        Its `directory`, if that is not empty, is the folder.
    run_id : int
        Of Flower: names a folder below `$STARLING_HOME`, or the user's data folder, otherwise.
    """
    named = str(run_config.get("directory") or "")
    if named:
        return Path(named)
    home = os.environ.get("STARLING_HOME") or platformdirs.user_data_dir("starling")
    return Path(home) / "runs" / f"flower-{run_id}"
