"""Weights & Biases: offline, below `./wandb` (or `$WANDB_DIR`), unless `WANDB_MODE` says otherwise.

What wandb finds out by itself, of the machine, the command, the code and its repository, it is
told not to.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import wandb

from shared.canonical import finite
from shared.run_files import RunFolder
from simulations.trackers.tracker import Figures, Settings


class WandB:
    """One wandb run for each point and one for the whole, in a group; see `Tracker`."""

    def __init__(self, run: RunFolder) -> None:
        self._name = run.path.resolve().name
        self._mode: Any = os.environ.get("WANDB_MODE") or "offline"  # wandb says what is none
        local = self._mode in ("offline", "disabled", "dryrun")
        self.elsewhere = "" if local else os.environ.get("WANDB_BASE_URL") or "wandb.ai"

    def open(self, name: str, settings: Settings) -> _Run:
        """See `Tracker`."""
        return _Run(
            wandb.init(
                project=os.environ.get("WANDB_PROJECT") or "starling",
                group=self._name,
                name=f"{self._name}/{name}" if name else self._name,
                job_type="point" if name else "run",
                config=finite(dict(settings)),
                mode=self._mode,
                reinit="create_new",
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    disable_code=True,
                    disable_git=True,
                    disable_job_creation=True,
                    host="localhost",
                    x_disable_machine_info=True,
                    x_disable_meta=True,
                    x_disable_stats=True,
                    x_save_requirements=False,
                ),
            )
        )


class _Run:
    def __init__(self, run: wandb.Run) -> None:
        self._run = run
        run.define_metric("*", step_metric="round")

    def figures(self, figures: Figures, step: int) -> None:
        self._run.log({**figures, "round": step})

    def file(self, path: Path) -> None:
        copied = Path(self._run.dir) / path.name  # else a link, which leads nowhere once it is gone
        shutil.copyfile(path, copied)
        self._run.save(str(copied), base_path=self._run.dir, policy="now")

    def close(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)


TRACKER = WandB
