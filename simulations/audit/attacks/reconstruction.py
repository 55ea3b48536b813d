"""Which items somebody interacted with, read out of what they send.

One step from a known adapter sends -lr times a gradient, and for every position t with scores s_t
and target j_t the loss's slope is softmax(s_t) - onehot(j_t). So in what is sent

    item bias   is raised at the targets alone: sorting its coordinates lists the items
    item rows   the correction of an item that was a target is longest
    core        its slope is sum_t U'E'(softmax(s_t) - onehot(j_t)) (U'f_t)', of few terms: what was
                chosen lies near the span of its columns, what came before, of which the f_t are
                made, near that of its rows
    histogram   holds nothing but the items

Whatever scales an update (clip, rate) changes no order of items. A view says what of one person
reaches whom: the update itself, a sum of n, a sum with noise. Each is opened twice, with the person
in and with the person's data away, everyone else and the way of the noise the same. How far the
person's items stand out, in the one or in the other as a coin falls for each, gives a lower bound
on epsilon (`simulations.audit.evidence.one_run`): every target has noise of its own.

References
----------
Zhu, Liu, Han 2019, Deep Leakage from Gradients, arXiv:1906.08935.
Petrov et al. 2024, DAGER: Exact Gradient Inversion for Large Language Models, arXiv:2405.15586.
Balle, Cherubin, Hayes 2022, Reconstructing Training Data with Informed Adversaries, 2201.04845.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from client.training.batches import user_windows
from shared.aggregation import rule_of
from shared.config import ExperimentConfig
from shared.data.population import history_of
from shared.errors import ConfigError
from shared.privacy.guarantee import Guarantee
from simulations.audit.attacks.intervals import Rate
from simulations.audit.attacks.views import View
from simulations.audit.checks.risk import decision
from simulations.audit.evidence import best, most_provable
from simulations.audit.findings import Decision, Finding, judged
from simulations.engine.cohort import CohortEngine

Scores = npt.NDArray[np.float64]
Items = npt.NDArray[np.int64]
Reader = Callable[[Scores], Scores]
"""Scores [people, items] of what was seen [people, dim]."""

LEAK = "reconstruction"  # what its findings are called, before channel and view
BIAS, CORE, ROWS = "item_bias.weight", "core.weight", ("item_in.weight", "item_out.weight")
_SPAN = 1e-5  # of the largest eigenvalue: directions with less are hardly of a span
_SHARES = (0.25, 0.9)  # of the targets, that are guessed about
_DRAWS = 0x7265636F  # a stream of randomness of its own


@dataclass(frozen=True)
class Leak:
    """What one way of reading found in one view.

    Attributes
    ----------
    view, channel : str
    top, top_without : Rate
        How often the item on top is one of the person's; the second with their data away.
    precision, recall : dict of int to float
        At so many items, mean over people.
    own, popular, chance : float
        Precision at as many items as a person has: of this, of ranking items by how many others
        have them, and of guessing.
    bound, provable : float
        Of epsilon, from below, together with all other leaks; and the most that could be shown.
    decision : Decision
        What a verdict rests on.
    """

    view: str
    channel: str
    top: Rate
    top_without: Rate
    precision: dict[int, float]
    recall: dict[int, float]
    own: float
    popular: float
    chance: float
    bound: float
    provable: float
    decision: Decision


def readers(engine: CohortEngine, config: ExperimentConfig) -> dict[str, Reader]:
    """Every way to read items out of an update of the first round, by channel.

    Parameters
    ----------
    engine : CohortEngine
    config : ExperimentConfig
        Of the point.
    """
    rule, model = rule_of(config), engine.recommender
    trained = engine.schema.subset(rule.trained(engine.schema.names, 1))

    def cut(seen: Scores, name: str) -> Scores:
        shape = trained.shapes[trained.names.index(name)]
        return seen[:, trained.slice_of(name)].reshape(len(seen), *shape)

    found: dict[str, Reader] = {}
    if BIAS in trained.names:
        found["item bias"] = lambda seen: cut(seen, BIAS)[..., 0]
    rows = next((name for name in ROWS if name in trained.names), None)
    if rows is not None:
        found["item rows"] = lambda seen: _lengths(cut(seen, rows))
    if CORE in trained.names:
        texts = (model.items @ model.basis).double().cpu().numpy()  # U'e of every item
        texts /= np.maximum(_lengths(texts)[:, None], 1e-30)
        found["core, what was chosen"] = lambda seen: _in_span(texts, cut(seen, CORE))
        found["core, what came before"] = lambda seen: _in_span(
            texts, cut(seen, CORE).transpose(0, 2, 1)
        )
    return found


def by_histogram(seen: Scores) -> Scores:
    """A sum of histograms, read as it stands."""
    return seen


def _lengths(rows: Scores) -> Scores:
    return np.asarray(np.linalg.norm(rows, axis=-1), dtype=np.float64)


def _in_span(texts: Scores, slopes: Scores) -> Scores:
    """How much of every item [items, k] lies in the columns' span of each slope [people, k, k]."""
    values, vectors = np.linalg.eigh(slopes @ slopes.transpose(0, 2, 1))  # [people, k], [.., k, k]
    least = np.maximum(_SPAN * values[:, -1:], 1e-30)
    weights = np.maximum(values, 0) / (np.maximum(values, 0) + least)
    parts = np.einsum("ik,nkl->nil", texts, vectors) ** 2  # [people, items, k]
    return np.asarray(np.einsum("nil,nl->ni", parts, weights))


def trained_items(engine: CohortEngine, config: ExperimentConfig) -> list[Items]:
    """What everyone's training is about, by key: the items within the bound on a contribution."""
    cuts = [
        user_windows(history_of(engine.population, key), config).targets
        for key in engine.population.keys
    ]
    return [np.unique(targets[targets >= 0]) for targets in cuts]


def leaks(
    contributions: npt.NDArray[np.floating],
    histories: Sequence[Items],
    items: int,
    views: Sequence[View],
    ways: Mapping[str, Reader],
    targets: int = 100,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Leak]:
    """Read some people's items in every view, in every way.

    Parameters
    ----------
    contributions : float [people, dim]
        Bounded, one a person.
    histories : sequence of int64 [n]
        What each of them trained on; see `trained_items`.
    items : int
        Of the catalogue.
    views : sequence of View
        None of more people than there are.
    ways : mapping of str to callable
    targets : int
        People that are looked for; everyone who has items, if they are fewer.
    seed : int
        Of who they are, and who is in the sums with them.
    confidence : float
        Of each rate's interval, and of all bounds together.
    """
    random = np.random.default_rng((_DRAWS, seed, 1))
    able = np.flatnonzero([0 < len(history) < items for history in histories])
    chosen = random.permutation(able)[:targets]
    has = np.zeros((len(histories), items), dtype=bool)
    for person, history in enumerate(histories):
        has[person, history] = True
    known = has[chosen]
    popular = _found((has.sum(0) - known).astype(np.float64), known)
    each = 1 - (1 - confidence) / max(1, len(views) * len(ways))
    found = []
    for view in views:
        if not 1 <= view.people <= len(histories):
            raise ConfigError(
                f"view {view.name!r} of {view.people} people: expected 1 to {len(histories)}"
            )
        pair = _seen(contributions, chosen, view, random)
        for channel, read in ways.items():
            there, away = (read(seen) for seen in pair)
            coins = random.random(len(chosen)) < 0.5
            out = _standing_out(np.where(coins[:, None], there, away), known)
            promised = view.promised
            delta, budget = (promised.delta, promised.budget) if promised else (0.0, math.inf)
            found.append(
                Leak(
                    view.name,
                    channel,
                    *_read(there, away, known, confidence),
                    own=_found(there, known),
                    popular=popular,
                    chance=float(known.mean()),
                    bound=best(out, coins, delta, each, shares=_SHARES),
                    provable=most_provable(len(coins), delta, each, shares=_SHARES),
                    decision=decision((out, coins), delta, budget, shares=_SHARES),
                )
            )
    return found


def _seen(
    contributions: npt.NDArray[np.floating],
    chosen: Items,
    view: View,
    random: np.random.Generator,
) -> tuple[Scores, Scores]:
    """What a view shows of each target [targets, dim], with their data and without."""
    there, away = [], []
    for number, person in enumerate(chosen.tolist()):
        others = np.delete(np.arange(len(contributions)), person)
        if view.people < len(contributions):
            others = random.choice(others, view.people - 1, replace=False)
        rows = contributions[np.append(others, person)]
        without = rows.copy()
        without[-1] = 0
        there.append(view.opened(rows, 2 * number))
        away.append(view.opened(without, 2 * number + 1))
    return np.stack(there), np.stack(away)


def _read(
    there: Scores, away: Scores, known: npt.NDArray[np.bool_], confidence: float
) -> tuple[Rate, Rate, dict[int, float], dict[int, float]]:
    """How often the item on top is right, with and without data; precision and recall."""
    people = np.arange(len(known))
    top, without = (
        Rate.of(int(known[people, _best(of)].sum()), len(known), confidence) for of in (there, away)
    )
    order = np.argsort(-there, axis=1, kind="stable")
    right = np.take_along_axis(known, order, axis=1)
    sizes = [k for k in (5, 10, 20) if k <= known.shape[1]]
    hits = {k: right[:, :k].sum(1) for k in sizes}
    precision = {k: float(hits[k].mean() / k) for k in sizes}
    recall = {k: float((hits[k] / known.sum(1)).mean()) for k in sizes}
    return top, without, precision, recall


def _standing_out(scores: Scores, known: npt.NDArray[np.bool_]) -> Scores:
    """How far a person's own items lie above all, in standard errors; scores [people, items]."""
    centred = scores - scores.mean(1, keepdims=True)
    spread = np.maximum(centred.std(1), 1e-30)
    own = known.sum(1)
    return np.asarray((centred * known).sum(1) / np.sqrt(own) / spread)


def _best(scores: Scores) -> Items:
    """The item on top; among equals one that no item's number favours, but always the same."""
    shuffled = np.random.default_rng(_DRAWS).permutation(scores.shape[1])
    return np.asarray(shuffled[np.argmax(scores[:, shuffled], axis=1)])


def _found(scores: Scores, known: npt.NDArray[np.bool_]) -> float:
    """Mean share of a person's items among as many on top, scores [people, items]."""
    order = np.argsort(-scores, axis=1, kind="stable")
    right = np.take_along_axis(known, order, axis=1)
    own = known.sum(1)
    counted = (right * (np.arange(known.shape[1]) < own[:, None])).sum(1)
    return float((counted / own).mean())


def findings(found: Sequence[Leak], views: Sequence[View]) -> list[Finding]:
    """One a leak.

    Parameters
    ----------
    found : sequence of Leak
    views : sequence of View
        In which they were found.
    """
    promises = {view.name: view.promised for view in views}
    return [_finding(leak, promises[leak.view]) for leak in found]


def _finding(leak: Leak, promised: Guarantee | None) -> Finding:
    name = f"{LEAK}, {leak.channel}, {leak.view}"
    figures = {
        "top": leak.top.value,
        "top_without": leak.top_without.value,
        "own": leak.own,
        "popular": leak.popular,
        "chance": leak.chance,
        "bound": leak.bound,
        "most_provable": leak.provable,
        **leak.decision.figures(),
        **{f"precision@{k}": of for k, of in leak.precision.items()},
        **{f"recall@{k}": of for k, of in leak.recall.items()},
    }
    told = (
        f"In as many guesses as a person has items {leak.own:.0%} of them are found (by what is "
        f"popular {leak.popular:.0%}, by chance {leak.chance:.0%})"
    )
    verdict, about = judged(leak.bound, leak.provable, promised, leak.decision)
    return Finding(name, verdict, leak.view, f"{told}. {about}", figures)
