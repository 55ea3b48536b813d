"""The layout of a run's folder: what points are called, and where everything of one lies."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

RESULTS_SCHEMA = 1  # of results.json
DEVICES = "devices"  # in a run's folder; below it one folder a point
# Names that a seal may give to what it vouches for: of a server's ledger, of a folder of devices'.
LEDGER_NAME = re.compile(r"ledger-[\w.-]+\.jsonl")
DEVICES_NAME = re.compile(rf"{DEVICES}/[\w-][\w.-]*")


def point_name(epsilon: float, seed: object) -> str:
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
    import platformdirs  # which the engine alone does without

    home = os.environ.get("STARLING_HOME") or platformdirs.user_data_dir("starling")
    return Path(home) / "runs" / f"flower-{run_id}"


def no_run(given: Path, file: str) -> str:
    """What to say of a path that is no run's folder: what it is, and which folder is meant.

    Parameters
    ----------
    given : Path
        As it was typed.
    file : str
        Of a run's folder, which is not in this one.
    """
    if not given.exists():
        there = "there is no such folder"
    else:
        there = f"holds no run (no {file})" if given.is_dir() else "is a file"
    meant = next((each for each in given.parents if (each / file).is_file()), None)
    return f"{there}; give the run's folder{'' if meant is None else f': {meant}'}"


class RunFolder:
    """What lies in a run's folder beside the files of its points.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    settings, results, curve, report, csv, parquet : Path
        Files: the first is written first, the others as points are finished.
    tensorboard : Path
        Folder of what TensorBoard is told, if it is: whoever asked for it reads it there.
    data : Path
        Salted digest of people's data: working state, shared with nobody.
    points, adapters, devices, personal : Path
        Folders: `RunFiles` says what of a point is in which.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings, self.results = path / "config.toml", path / "results.json"
        self.curve, self.report = path / "curve.png", path / "report.html"
        self.csv, self.parquet = path / "results.csv", path / "results.parquet"
        self.points, self.adapters = path / "points", path / "adapters"
        self.devices, self.personal = path / DEVICES, path / "personal"
        self.data = self.points / "data.json"
        self.tensorboard = path / "tensorboard"

    @property
    def tables(self) -> tuple[Path, Path]:
        """The points as a table, in two forms."""
        return self.csv, self.parquet

    def reference(self, name: str) -> Path:
        """What a finished reference point found."""
        return self.points / f"reference-{name}.json"

    def trial(self, name: str) -> RunFolder:
        """Where a reference point that is trained as a run works until it is finished."""
        return RunFolder(self.points / f"reference-{name}")

    def ledgers(self) -> list[Path]:
        """Whatever is called as the server's ledgers are, whoever put it there."""
        return list(self.path.glob("ledger-*.jsonl"))

    def handed_on(self) -> list[Path]:
        """Whatever is called as the files are that a run hands on, whoever put it there."""
        named = (self.settings, self.curve, self.report, *self.tables)
        whole = [at for at in named if os.path.lexists(at)]
        released = ("*.popularity.safetensors", "*.moments.safetensors")
        kinds = (*released, "*.policy.json", "*.toml")
        of_points = [at for kind in kinds for at in self.points.glob(kind)]
        return sorted([*whole, *self.adapters.glob("*"), *of_points])

    def made(self) -> list[Path]:
        """What there is of parts that were begun or finished: the settings are there before."""
        parts = [*self.points.glob("*.sealed.json"), *self.points.glob("reference-*")]
        return sorted({*parts, *self.ledgers(), *self.handed_on()} - {self.settings})

    def everything(self) -> list[Path]:
        """All files in it and in folders below, and links; hidden ones too."""
        return sorted(
            Path(folder) / name
            for folder, below, files in os.walk(self.path)
            for name in [*files, *(at for at in below if Path(folder, at).is_symlink())]
        )


@dataclass(frozen=True)
class RunFiles:
    """Where a run keeps what it is given and what it makes, of one point.

    Attributes
    ----------
    initial : Path
        The initial adapter (safetensors, named float32 tensors): fixes the schema.
    settings : Path
        The point's own (TOML).
    ledger, checkpoint, adapter, policy, outcome : Path
        Written by the run; `outcome` last.
    popularity : Path
        The popularity histogram as it was released (safetensors, float64 `counts` [items]), of a
        private run that starts from one.
    moments : Path
        What people have together as it was released (safetensors: float64 `total` [K], and the
        coordinates that it is in, see `shared.privacy.contribution.moments`), of a private run
        that asks for it.
    sealed : Path
        The finished point as `results.json` holds it, of a sweep.
    devices : Path
        Folder of what virtual devices keep. Nothing but ledgers lies there, every one a claim.
    personal : Path
        Tensors of virtual devices' own (SQLite), under rules that keep any there.
    """

    initial: Path
    settings: Path
    ledger: Path
    checkpoint: Path
    adapter: Path
    policy: Path
    outcome: Path
    popularity: Path
    moments: Path
    sealed: Path
    devices: Path
    personal: Path

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.ledger.parent

    @property
    def name(self) -> str:
        """The point's."""
        return self.adapter.stem

    @property
    def released(self) -> tuple[Path, ...]:
        """What a reader may be handed beside the ledgers, as far as it is there."""
        return self.adapter, self.popularity, self.moments, self.policy, self.settings

    @property
    def working(self) -> tuple[Path, ...]:
        """What the run itself goes on from, and hands to nobody."""
        kept = (self.initial, self.checkpoint, self.outcome, self.sealed, self.personal)
        return *kept, self.public, self.asked, self.noise_key, self.environments

    @property
    def public(self) -> Path:
        """Factors of the items that are public, where moments are asked for (safetensors)."""
        return self.checkpoint.with_suffix(".public.safetensors")

    @property
    def asked(self) -> Path:
        """Who was asked in which round, where noise counts on how often: beside the checkpoint."""
        return self.checkpoint.with_suffix(".asked.jsonl")

    @property
    def environments(self) -> Path:
        """What computed it so far, of a sweep: one entry for each change."""
        return self.checkpoint.with_suffix(".environments.json")

    @property
    def noise_key(self) -> Path:
        """The secret of correlated noise, beside the checkpoint."""
        return self.checkpoint.with_suffix(".noise.key")


def run_files(directory: Path, name: str) -> RunFiles:
    """The files of a point named `name` in a run's directory."""
    run = RunFolder(directory)
    return RunFiles(
        initial=run.points / f"{name}.initial.safetensors",
        settings=run.points / f"{name}.toml",
        ledger=directory / f"ledger-{name}.jsonl",
        checkpoint=run.points / f"{name}.checkpoint",
        adapter=run.adapters / f"{name}.safetensors",
        policy=run.points / f"{name}.policy.json",
        outcome=run.points / f"{name}.outcome.json",
        popularity=run.points / f"{name}.popularity.safetensors",
        moments=run.points / f"{name}.moments.safetensors",
        sealed=run.points / f"{name}.sealed.json",
        devices=run.devices / name,
        personal=run.personal / f"{name}.sqlite",
    )
