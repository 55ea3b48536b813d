"""What kind of person sent something, or is recommended something: attributes that nobody sends.

Ridge regression on labels of other people, cross-validated: everyone is judged by weights that were
fitted without them. A guarantee is about whether somebody took part, not about what people of a
kind have in common: an attribute may be told of one who never took part, from what they like. So
nothing here decides a verdict; figures stand beside those of the control that knows the items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.func import functional_call

from shared.config import ExperimentConfig
from shared.data.population import history_of
from shared.data.split import training_history
from shared.errors import ConfigError
from shared.update import Arrays
from simulations.audit.attacks.intervals import Bits, Rate, Scores, auc
from simulations.audit.attacks.reconstruction import readers
from simulations.audit.findings import Finding
from simulations.engine.cohort import CohortEngine
from simulations.engine.ranking import padded

FOLDS = 5
_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # in units of the mean square of a row
_FOLDS = 0x61747472  # a stream of randomness of its own
_PEOPLE = 32  # whose recommendations are computed at once


@dataclass(frozen=True)
class Inference:
    """How well one attribute is told from one view.

    Attributes
    ----------
    attribute, view : str
    people : int
    auc : Rate
        Chance that one who has it scores above one who has not: 0.5 where nothing is told.
    accuracy : Rate
        Guesses that are right.
    majority : float
        Share of the more frequent kind: what always guessing it gets right.
    """

    attribute: str
    view: str
    people: int
    auc: Rate
    accuracy: Rate
    majority: float


def inferred(
    views: Mapping[str, npt.NDArray[np.floating]],
    attributes: Mapping[str, Bits],
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Inference]:
    """Tell every attribute from every view.

    Parameters
    ----------
    views : mapping of str to float [people, width]
        A row a person, the same people in the same order.
    attributes : mapping of str to bool [people]
    seed : int
        Of who is in which fold.
    confidence : float
        Of each interval.

    Raises
    ------
    ConfigError
        If fewer people than folds have an attribute, or have it not.
    """
    found = []
    for view, rows in views.items():
        alike = _products(rows)
        for attribute, has in attributes.items():
            if min(has.sum(), (~has).sum()) < FOLDS:
                raise ConfigError(
                    f"attribute {attribute!r}: {has.sum()} people have it and {(~has).sum()} have "
                    f"not; expected at least {FOLDS} of each"
                )
            scores = _judged(alike, has, seed)
            right, most = int(((scores > 0) == has).sum()), max(has.mean(), 1 - has.mean())
            area, of = auc(scores, has, confidence), Rate.of(right, len(has), confidence)
            found.append(Inference(attribute, view, len(has), area, of, float(most)))
    return found


def findings(found: Sequence[Inference]) -> list[Finding]:
    """One an inference; none of them is about what is promised."""
    return [
        Finding(
            f"attribute, {each.attribute}, {each.view}",
            "not shown",
            each.view,
            f"No promise is about attributes; this one is told with an area under the curve of "
            f"{each.auc.value:.2f} ({each.auc.low:.2f} to {each.auc.high:.2f}), right in "
            f"{each.accuracy.value:.0%} of the cases (of the more frequent kind are "
            f"{each.majority:.0%}).",
            {
                "auc": each.auc.value,
                "auc_low": each.auc.low,
                "auc_high": each.auc.high,
                "accuracy": each.accuracy.value,
                "majority": each.majority,
            },
        )
        for each in found
    ]


def items_of(engine: CohortEngine, keys: Sequence[int]) -> Scores:
    """The control: who trained on which item, float64 [people, items], rows of length one."""
    rows = np.zeros((len(keys), len(engine.population.catalogue)))
    for row, key in zip(rows, keys, strict=True):
        row[training_history(history_of(engine.population, key))] = 1
    return _of_length_one(rows)


def features(
    engine: CohortEngine, config: ExperimentConfig, seen: npt.NDArray[np.floating]
) -> dict[str, Scores]:
    """Rows that an attacker makes of updates of the first round, [people, dim].

    The numbers themselves, each in units of its own spread; and the items whose bias is raised,
    see `simulations.audit.attacks.reconstruction`.
    """
    spread = np.maximum(seen.std(axis=0, dtype=np.float64), 1e-12)
    found = {"numbers": seen / spread}
    bias = readers(engine, config).get("item bias")
    if bias is not None:
        raised = (bias(seen.astype(np.float64)) > 0).astype(np.float64)
        found["items read"] = _of_length_one(raised)
    return found


@torch.no_grad()
def recommendations(
    engine: CohortEngine, config: ExperimentConfig, adapter: Arrays, keys: Sequence[int]
) -> Scores:
    """What an adapter scores for people after what they trained on, float64 [people, items]."""
    tensors = engine.schema.unflatten(engine.schema.from_arrays(adapter).to(engine.device))
    found = []
    for start in range(0, len(keys), _PEOPLE):
        some = keys[start : start + _PEOPLE]
        contexts = [training_history(history_of(engine.population, key)) for key in some]
        windows, last = padded(contexts, config.model.max_length, engine.device)
        scores = functional_call(engine.recommender, tensors, (windows,))
        found.append(scores[torch.arange(len(some)), last].double().cpu().numpy())
    return np.concatenate(found)


def _of_length_one(rows: Scores) -> Scores:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30))


def _products(rows: npt.NDArray[np.floating]) -> Scores:
    """Inner products of people [people, people], columns centred."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    return np.asarray(centred @ centred.T)


def _judged(alike: Scores, has: Bits, seed: int) -> Scores:
    """Everyone's score by those of other folds, above 0 where they seem to have it."""
    people = len(has)
    random = np.random.default_rng((_FOLDS, seed))
    # As many of each kind in every fold: else who is left out shows in the mean of all others.
    kinds = [random.permutation(np.flatnonzero(of)) for of in (has, ~has)]
    order = np.concatenate(kinds)
    found = np.empty(people)
    for fold in range(FOLDS):
        judged = order[fold::FOLDS]
        known = np.setdiff1d(order, judged)
        found[judged] = _fitted(alike, has, known, judged)
    return found


def _fitted(
    alike: Scores, has: Bits, known: npt.NDArray[np.int64], judged: npt.NDArray[np.int64]
) -> Scores:
    """Ridge regression; its ridge has the least error of leaving one out among those known."""
    wanted = np.where(has[known], 1.0, -1.0)
    usual = wanted.mean()
    values, vectors = np.linalg.eigh(alike[np.ix_(known, known)])
    values = np.maximum(values, 0)
    turned = vectors.T @ (wanted - usual)
    unit = max(float(values.mean()), 1e-30)

    def without(ridge: float) -> tuple[float, Scores]:
        """Squared error of leaving one out, and the weights of all."""
        inverse = 1 / (values + ridge * unit)
        weights = vectors @ (inverse * turned)
        return float(((weights / ((vectors**2) @ inverse)) ** 2).sum()), weights

    _, weights = min((without(ridge) for ridge in _RIDGES), key=lambda pair: pair[0])
    return np.asarray(alike[np.ix_(judged, known)] @ weights + usual)
