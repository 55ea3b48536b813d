"""TensorBoard: a folder of event files in the run's own, `tensorboard --logdir RUN` shows it."""

from __future__ import annotations

from pathlib import Path

import tomli_w
from matplotlib.image import imread
from torch.utils.tensorboard import SummaryWriter

from shared.canonical import finite
from shared.run_files import RunFolder
from simulations.trackers.tracker import Figures, Settings


class TensorBoard:
    """Event files below `tensorboard/`, one folder a point; see `Tracker`."""

    elsewhere = ""

    def __init__(self, run: RunFolder) -> None:
        self._folder = run.tensorboard

    def open(self, name: str, settings: Settings) -> _Events:
        """See `Tracker`."""
        return _Events(self._folder / name, settings)


class _Events:
    def __init__(self, folder: Path, settings: Settings) -> None:
        # Of a run that is continued all rounds are told again: those that are there do not count.
        self._writer = SummaryWriter(folder, purge_step=0)
        text = tomli_w.dumps(finite(dict(settings))).replace("\n", "\n    ")
        self._writer.add_text("settings", f"    {text}", 0)

    def figures(self, figures: Figures, step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def file(self, path: Path) -> None:
        """A picture; it has no place for anything else."""
        if path.suffix == ".png":
            self._writer.add_image(path.stem, imread(path)[..., :3], 0, dataformats="HWC")

    def close(self, finished: bool) -> None:
        self._writer.close()


TRACKER = TensorBoard
