"""What a private search claims: `total.json` is read and written in this form alone.

It names every run that was made on the people's log, what all of them cost together, and which one
was chosen by their released figures. One seal vouches for it and for each run's own results.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from safetensors.numpy import load_file, save

from shared.errors import DataError
from shared.files import read_file, write_atomically
from shared.privacy.contribution.evaluation import METRIC_NAMES, selection_score
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import SEEDED, promise_text, read_metadata
from shared.privacy.ledger.together import Together
from simulations.results import Point, Stated, Tree

SCHEMA = 1
TOTAL, CHOSEN = "total.json", "chosen.safetensors"
RELEASED_METRICS = METRIC_NAMES
"""What a private search may choose by: devices give nothing else with noise."""


def trial_name(number: int) -> str:
    """The folder of a run; 0 are the settings as they stood."""
    return f"trial-{number}"


@dataclass(frozen=True)
class Figure:
    """A run's released metric.

    Attributes
    ----------
    value, error : float
        With its standard error over noise and sample; NaN where the release says nothing.
    """

    value: float
    error: float

    @classmethod
    def of(cls, point: Point, metric: str) -> Figure:
        """That of the adapter which the point released."""
        about = point.table("released_metrics")
        chosen = about.get("selected_round")
        found = [each for each in point.released if chosen in (None, each.get("round"))]
        last: Mapping[str, Any] = found[-1] if found else {}
        if not last or selection_score(last) < 0:
            return cls(math.nan, math.nan)
        told = last[metric]
        return cls(float(told["value"]), float(told["standard_error"]))

    def stated(self) -> dict[str, float | None]:
        """As JSON has it."""
        return {name: None if math.isnan(figure) else figure for name, figure in vars(self).items()}


def best(figures: Sequence[Figure]) -> int:
    """Which is the largest, the first of equals; 0, as it stood, where none says anything."""
    told = [-math.inf if math.isnan(each.value) else each.value for each in figures]
    return told.index(max(told))


class Searched(Stated):
    """The claims of one private search.

    `metric`; `vary`, the names that were varied; `trials`, each with `folder`, `values`, `ledger`
    (its head), `value` and `error`; `chosen`, a trial's number; `guarantee`, its budget that of all
    runs; `each`, one run's budget; `epsilon`, `epsilon_rdp`, `epsilon_prv` of all runs together.
    """

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Those in a folder, trusting nothing in them.

        Raises
        ------
        DataError
            If there are none.
        """
        file = folder / TOTAL
        try:
            tree = json.loads(read_file(file).decode())
            whole = tree["schema"] == SCHEMA and all(
                isinstance(each["folder"], str) and isinstance(each["values"], dict)
                for each in tree["trials"]
            )
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from None
        except (KeyError, RecursionError, TypeError, ValueError):
            whole = False
        if not whole:
            raise DataError(f"{file}: not a private search of schema {SCHEMA}")
        return cls(tree)

    @property
    def guarantee(self) -> Guarantee:
        """That of all runs together; a `ConfigError` or `DataError` if none is stated."""
        told = Stated(self.table("guarantee"))
        names = ("unit", "relation", "trust", "adversary")
        words: dict[str, Any] = {name: told.get(name) for name in names}
        group: Any = told.get("group_size")
        if not all(isinstance(word, str) for word in words.values()) or type(group) is not int:
            raise DataError(f"{TOTAL}: guarantee: expected unit, relation, trust and so on")
        budget = told.number("epsilon_target")
        return Guarantee(**words, delta=told.number("delta"), group=group, budget=budget)

    @property
    def trials(self) -> list[Stated]:
        """In the order of their numbers."""
        trials: Any = self.stated["trials"]
        return [Stated(each) for each in trials]


def figures_of(found: Together, budget: float) -> dict[str, object]:
    """What all runs promise together and cost, as it is claimed."""
    return {
        "guarantee": replace(found.guarantee, budget=budget).stated(),
        "epsilon": found.epsilon,
        "epsilon_rdp": found.epsilon_rdp,
        "epsilon_prv": found.epsilon_prv,
    }


def promise_of_all(figures: Tree, ledgers: Sequence[Ledger], settings: str) -> Tree:
    """What the chosen adapter carries: choosing it looked at every run, so their total covers it.

    Parameters
    ----------
    figures : mapping
        `figures_of`.
    ledgers : sequence of Ledger
        Of all runs.
    settings : str
        Hash of the chosen run's.
    """
    stated: Any = figures["guarantee"]
    heads = [ledger.head for ledger in ledgers]
    spent = {"epsilon": figures["epsilon"], "ledger_head": heads[0], "ledger_heads": heads}
    return {"guarantees": [{**stated, **spent}], "settings": settings, "noise": SEEDED}


def write_chosen(adapter: Path, promise: Tree, file: Path) -> None:
    """Write a run's adapter again, with the promise of the whole search instead of its own."""
    carried = {**read_metadata(adapter), "promise": promise_text(promise)}
    write_atomically(file, save(load_file(adapter), metadata=carried))
