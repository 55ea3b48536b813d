"""A search's folder: what it is, what was tried, and the best settings.

tune.json     what is searched; a search that goes on is compared with it
journal.log   Optuna's record of every trial, from which it goes on
trials.json   the same for people and scripts, after every trial
best.toml     the settings of the best trial, for `starling simulate --config`

A private search has no journal: what is tried is fixed before the first run. It has also

trial-N/             the whole run of each trial, ledger and all
chosen.safetensors   the best trial's adapter, with the promise of the whole search
total.json           what all trials cost together, under the seal (`simulations.searched`)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from shared.canonical import canonical_json, document
from shared.config import DataConfig, dump_toml
from shared.errors import ConfigError
from shared.files import make_folder, read_record, write_atomically
from shared.printable import printable
from simulations.searched import CHOSEN, TOTAL
from simulations.tune.asked import Search, Tried
from simulations.tune.space import Varied

_SCHEMA = 1


class TuneFolder:
    """The folder of one search.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.search, self.trials = path / "tune.json", path / "trials.json"
        self.best, self.work = path / "best.toml", path / ".trial"
        self.total, self.chosen = path / TOTAL, path / CHOSEN

    def begin(self, asked: Search, about: Mapping[str, Any]) -> bool:
        """Write what is searched; in a folder that has a search, compare. Whether it is new.

        Parameters
        ----------
        asked : Search
        about : mapping
            What the data are: `catalogue`, `users`.

        Raises
        ------
        ConfigError
            If the folder holds something else, or cannot be written.
        """
        stated = {"schema": _SCHEMA, **_stated(asked), "about": dict(about)}
        try:
            if self.search.exists():
                then = read_record(self.search, stated)
                odd = sorted(name for name in stated if then[name] != stated[name])
                if odd:
                    raise ConfigError(
                        f"{self.path}: holds another search ({odd[0]} differs); go on with "
                        "--resume alone, or give a new --out"
                    )
                return False
            if self.path.exists() and any(self.path.iterdir()):
                raise ConfigError(f"{self.path}: holds other files; give a new folder as --out")
            make_folder(self.path)
            write_atomically(self.search, canonical_json(stated))
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written ({error.strerror})") from None
        return True

    def asked(self) -> Search:
        """The search that the folder holds.

        Raises
        ------
        ConfigError
            If it holds none.
        """
        if not self.search.is_file():
            raise ConfigError(f"--resume {self.path}: holds no search (no {self.search.name})")
        found = read_record(self.search, ("settings", "vary", "epsilon", "seeds", "metric", "seed"))
        try:
            return Search(
                found["settings"],
                tuple(Varied(name, tuple(of), ranged) for name, of, ranged in found["vary"]),
                float(found["epsilon"]),
                tuple(found["seeds"]),
                found["metric"],
                found["seed"],
                found["public"],
                bool(found.get("private", False)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"{self.search}: damaged ({error}); start a new search") from None

    def storage(self) -> JournalStorage:
        """Optuna's."""
        return JournalStorage(JournalFileBackend(str(self.path / "journal.log")))

    def keep(self, asked: Search, found: Sequence[Tried], trials: int) -> None:
        """Write all trials, and the settings of the best."""
        rows = [dataclasses.asdict(each) for each in found]
        whole = {"metric": asked.metric, "of": looked_at(asked), "planned": trials}
        best = max(
            (each for each in found if not each.why),
            key=lambda each: (not math.isnan(each.value), each.value),
        )
        settings = asked.settings(best.values)
        # Of the data the protocol stays; which log, and how much of it, is for whoever uses this.
        data = DataConfig(
            evaluated_users=settings.data.evaluated_users, negatives=settings.data.negatives
        )
        chosen = dump_toml(dataclasses.replace(settings, data=data))
        try:
            write_atomically(self.trials, document({**whole, "trials": rows}))
            write_atomically(self.best, f"{_heading(asked, best, len(found) - 1)}\n{chosen}")
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written ({error.strerror})") from None


def _stated(asked: Search) -> dict[str, Any]:
    return {
        "settings": dict(asked.tree),
        "vary": [[each.setting, list(each.values), each.ranged] for each in asked.space],
        "epsilon": "inf" if math.isinf(asked.epsilon) else asked.epsilon,
        "seeds": list(asked.seeds),
        "metric": asked.metric,
        "seed": asked.seed,
        "public": asked.public,
        **({"private": True} if asked.private else {}),
    }


def looked_at(asked: Search) -> str:
    """What a trial's figure is of."""
    return "validation items, as released with noise" if asked.private else "validation items"


def _heading(asked: Search, best: Tried, tried: int) -> str:
    spec = asked.settings({}).data.spec
    name = printable(Path(spec).name)
    what = f"trial {best.number} of {tried}" if best.number else f"as it stood; {tried} tried"
    if asked.private:
        return (
            f"# Chosen by starling tune --private on {name}: {what}, {asked.metric} "
            f"{best.value:.4f} released.\n# A run with them on the same people costs its own "
            "budget on top: chosen.safetensors is there already."
        )
    return (
        f"# Chosen by starling tune on {name}: {what}, {asked.metric} {best.value:.4f} on its "
        "validation items.\n# For people who are not in it."
    )
