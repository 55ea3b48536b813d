"""Policies whose value is asked: each gives every item a weight, and shows it in proportion.

    pi(a | x, S) = weight_a(x) / sum over open b of weight_b(x),     a open, not in S

`uniform`: 1. `popularity`: the clicks of the log plus one, counted on other people than it is
valued on. Another log: how often that shows an item at a place. An adapter: exp(score / T) of its
ranking after what the person had clicked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from shared.data.readers.columns import read_items
from shared.errors import ConfigError, DataError
from simulations.offpolicy.clicks import Cells
from simulations.offpolicy.feedback import Floats, Indices, LoggedFeedback
from simulations.offpolicy.reading import read_feedback

UNIFORM, POPULARITY = "uniform", "popularity"
ADAPTER = ".safetensors"


class Policy(Protocol):
    """What is valued."""

    @property
    def name(self) -> str:
        """In words."""
        ...

    def weights(self, log: LoggedFeedback, rows: slice, cells: Cells) -> Floats:
        """Of all items at some rows of the log, >= 0, [m, items]; `cells` of the whole log."""
        ...


class Uniform:
    """Every open item alike."""

    name = UNIFORM

    def weights(self, log: LoggedFeedback, rows: slice, cells: Cells) -> Floats:
        """1."""
        return np.ones((rows.stop - rows.start, len(log.item_ids)))


class Popularity:
    """In proportion to the clicks of people in other folds, plus one."""

    name = "popularity (clicks + 1, of other people)"

    def weights(self, log: LoggedFeedback, rows: slice, cells: Cells) -> Floats:
        """Clicks + 1."""
        counted = cells.others((log.rewards > 0).astype(float)).sum(axis=2) + 1  # [folds, items]
        return np.asarray(counted[cells.folds[rows]])


class Frequencies:
    """What another policy shows at each place, by its own log.

    Parameters
    ----------
    other : LoggedFeedback
    log : LoggedFeedback
        That it is valued on.

    Raises
    ------
    DataError
        If it shows other items, or has nothing at a place.
    """

    def __init__(self, other: LoggedFeedback, log: LoggedFeedback) -> None:
        self.name = f"what {other.name} shows"
        index = {item: number for number, item in enumerate(log.item_ids)}
        place = {name: number for number, name in enumerate(log.place_names)}
        strange = next((one for one in other.item_ids if one not in index), None)
        if strange is not None:
            raise DataError(f"{other.name}: shows item {strange!r}, which {log.name} never does")
        lacking = set(log.place_names) ^ set(other.place_names)
        if lacking:
            told = ", ".join(map(str, sorted(lacking)))
            raise DataError(f"{other.name} and {log.name}: place {told} is in one of them only")
        items = np.array([index[one] for one in other.item_ids])[other.items]
        places = np.array([place[one] for one in other.place_names])[other.places]
        counts = np.zeros((len(place), len(index)))
        np.add.at(counts, (places, items), 1)
        self._table = counts

    def weights(self, log: LoggedFeedback, rows: slice, cells: Cells) -> Floats:
        """Showings at the row's place."""
        return np.asarray(self._table[log.places[rows]])


class Scores:
    """Softmax of a trained adapter's scores after what a person had clicked.

    Parameters
    ----------
    adapter : Path
    log : LoggedFeedback
    folder : Path
        Where the items that it was trained on are listed.
    temperature : float
        > 0.
    """

    def __init__(self, adapter: Path, log: LoggedFeedback, folder: Path, temperature: float):
        from client.serving.adapters import open_release

        self.name = f"{adapter} (softmax of scores / {temperature:g})"
        catalogue = read_items(folder)
        if catalogue.item_ids != log.item_ids:
            raise DataError(f"{folder}: lists other items than {log.name} shows")
        self._trained = open_release(adapter, catalogue)
        self._temperature = temperature

    def weights(self, log: LoggedFeedback, rows: slice, cells: Cells) -> Floats:
        """exp((score - the largest) / T)."""
        contexts = log.clicked_before(rows)
        distinct = {len(context): context for context in contexts}  # each extends the one before
        scores = dict(zip(distinct, self._scores(list(distinct.values())), strict=True))
        found = np.stack([scores[len(context)] for context in contexts]) / self._temperature
        return np.asarray(np.exp(found - found.max(axis=1, keepdims=True)))

    def _scores(self, contexts: Sequence[Indices]) -> Floats:
        """After each context, float64 [n, items]."""
        import torch

        from simulations.engine.ranking import LastScores, padded

        model, length = self._trained.recommender, self._trained.config.model.max_length
        with torch.no_grad():
            windows, last = padded(contexts, length, model.items.device)
            return np.asarray(LastScores(model)(windows, last).double().cpu().numpy())


def named_policy(text: str, log: LoggedFeedback, temperature: float = 1.0) -> Policy:
    """The policy that a word or a path means.

    Parameters
    ----------
    text : str
        `uniform`, `popularity`, an adapter's file (.safetensors), or another log.
    log : LoggedFeedback
        That it is valued on.
    temperature : float
        Of an adapter's softmax, > 0.

    Raises
    ------
    ConfigError, DataError, ModelError
        For a temperature out of range, and a file that is none of these or does not fit.
    """
    if not (0 < temperature < float("inf")):
        raise ConfigError(f"temperature = {temperature:g}: expected more than 0, below infinity")
    if text == UNIFORM:
        return Uniform()
    if text == POPULARITY:
        return Popularity()
    path = Path(text)
    if not path.exists():
        raise DataError(
            f"policy {text!r}: neither uniform nor popularity, nor a file: an adapter "
            f"({ADAPTER}) or another log"
        )
    if path.name.endswith(ADAPTER):
        at = Path(log.name)
        return Scores(path, log, at if at.is_dir() else at.parent, temperature)
    return Frequencies(read_feedback(path), log)
