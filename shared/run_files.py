"""The layout of a run's folder: what points are called, and where everything of one lies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class RunFiles:
    """Where a run keeps what it is given and what it makes.

    Attributes
    ----------
    initial : Path
        The initial adapter (safetensors, named float32 tensors): fixes the schema.
    ledger, checkpoint, adapter, policy, outcome : Path
        Written by the run; `outcome` last.
    popularity : Path
        The popularity histogram as it was released (safetensors, float64 `counts` [items]), of a
        private run that starts from one.
    """

    initial: Path
    ledger: Path
    checkpoint: Path
    adapter: Path
    policy: Path
    outcome: Path
    popularity: Path

    @property
    def asked(self) -> Path:
        """Who was asked in which round, where noise counts on how often: beside the checkpoint."""
        return self.checkpoint.with_suffix(".asked.jsonl")

    @property
    def noise_key(self) -> Path:
        """The secret of correlated noise, beside the checkpoint."""
        return self.checkpoint.with_suffix(".noise.key")


def run_files(directory: Path, name: str) -> RunFiles:
    """The files of a point named `name` in a run's directory."""
    return RunFiles(
        initial=directory / "points" / f"{name}.initial.safetensors",
        ledger=directory / f"ledger-{name}.jsonl",
        checkpoint=directory / "points" / f"{name}.checkpoint",
        adapter=directory / "adapters" / f"{name}.safetensors",
        policy=directory / "points" / f"{name}.policy.json",
        outcome=directory / "points" / f"{name}.outcome.json",
        popularity=directory / "points" / f"{name}.popularity.safetensors",
    )
