"""Who was in a run, told from what it released, with few runs to compare with.

A person is in a run with probability 1/2 (see `halves`); the attacker knows the whole history of
whom they look for, and trains runs of their own on other halves of the same people. Each run in
turn is the target, all others are its references. What is looked at of a model:

    scores     the mean log-likelihood that it gives a person's own training items (black box)
    adapter    whose updates add up to where it went: least squares, (D D' + r I) b = D theta, with
               people's own updates at the mean of the models as rows of D
    histogram  the released histogram on the items of the person

RMIA compares a person's likelihood, divided by what references give, with that of everybody else:

    share of z with [p(x|theta) / p(x)] / [p(z|theta) / p(z)] >= 1

where p(x) is the geometric mean over references: with few, an arithmetic one follows the largest.
LiRA fits a Gaussian to what models with the person say and one to what models without say, and
takes the ratio. With few references all share one spread, and how far apart a person's two means
lie is drawn to what it is of everybody, the more the less people differ in that (empirical Bayes).

That a score depends on the target through its released files alone, and on bits that were drawn
apart, makes `simulations.audit.evidence.one_run` a valid bound: every person is a canary.

References
----------
Zarifzadeh, Liu, Shokri 2024, Low-Cost High-Power Membership Inference Attacks (RMIA), 2312.03262.
Carlini et al. 2022, Membership Inference Attacks From First Principles (LiRA), arXiv:2112.03570.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from client.training.batches import user_windows
from shared.aggregation import rule_of
from shared.config import ExperimentConfig
from shared.data.population import history_of
from shared.data.windows import Windows
from shared.errors import ConfigError
from shared.privacy.contribution.histogram import user_histogram
from shared.privacy.guarantee import Guarantee
from simulations.audit.attacks.halves import Released
from simulations.audit.attacks.intervals import Bits, Found, Rate, Scores
from simulations.audit.attacks.updates import updates_of
from simulations.audit.canaries import likelihood
from simulations.audit.checks.risk import decision
from simulations.audit.evidence import best, most_provable
from simulations.audit.findings import Decision, Finding, judged
from simulations.engine.cohort import CohortEngine

Signals = Mapping[str, Scores]  # each [models, people]

BLACK_BOX = ("scores",)
_RIDGE = 1.0  # r, in units of the mean square of an update
_LEAST = 1e-9  # of a variance, that another is divided by
_SHARES = (0.1, 0.5)  # of the people, that are guessed about
_EXPOSED = 0.05  # of the people, whose exposure is told apart


@dataclass(frozen=True)
class Exposed:
    """One of the people whom most is known of, chosen on half of the runs.

    Attributes
    ----------
    key : int
        The person's: for the auditor, not to be handed on.
    interactions : int
    shift : float
        How far apart their two worlds seem, in standard deviations.
    right : Rate
        Of the guesses about them in the other half of the runs.
    """

    key: int
    interactions: int
    shift: float
    right: Rate


@dataclass(frozen=True)
class Attack:
    """One attack on every run in turn.

    Attributes
    ----------
    name : {"RMIA", "LiRA"}
    threat_model : str
    found : Found
        Over all runs; a person is in it once a run.
    bound, provable : float
        Of epsilon, from below, by the first run, together with all other attacks; and what it
        would be if every guess were right. More runs would share one risk, and delta leaves none.
    decision : Decision
        What a verdict rests on.
    """

    name: str
    threat_model: str
    found: Found
    bound: float
    provable: float
    decision: Decision


@dataclass(frozen=True)
class Membership:
    """What attacks on membership found.

    Attributes
    ----------
    attacks : list of Attack
    worst : list of Exposed
        The most exposed of all people, by the strongest attack.
    exposed, everybody : Rate
        Right guesses about the 5 % most exposed, and about all, in the half of the runs on which
        nobody was chosen.
    models, people : int
    findings : list of Finding
    """

    attacks: list[Attack]
    worst: list[Exposed]
    exposed: Rate
    everybody: Rate
    models: int
    people: int
    findings: list[Finding]


def membership(
    engine: CohortEngine,
    config: ExperimentConfig,
    models: Sequence[Released],
    bits: Bits,
    promised: Guarantee | None,
    confidence: float = 0.95,
) -> Membership:
    """Attack every run by its scores and by all that it released.

    Parameters
    ----------
    engine : CohortEngine
        Of the people, all of them in.
    config : ExperimentConfig
        Of the point: the same for all runs but for their seeds.
    models : sequence of Released
        At least 4.
    bits : bool [models, people]
        Who was in, people in the order of the engine's keys; see `halves.memberships`.
    promised : Guarantee or None
        To a person, against whoever reads what was released; None: nothing is.
    confidence : float
        That all bounds hold together.

    Raises
    ------
    ConfigError
        For fewer models, or bits of another shape.
    """
    keys = list(engine.population.keys)
    if len(models) < 4 or bits.shape != (len(models), len(keys)):
        raise ConfigError(
            f"{len(models)} models, bits {bits.shape}: expected at least 4, and one row of "
            f"{len(keys)} bits for each"
        )
    seen = signals(engine, config, models)
    delta = promised.delta if promised else 0.0
    each = 1 - (1 - confidence) / 4
    attacks, strongest = [], np.empty(0)
    for view, names in (("black box", BLACK_BOX), ("final model", tuple(seen))):
        chosen = [seen[name] for name in names]
        for name, attack in (("RMIA", rmia), ("LiRA", lira)):
            strongest = np.stack([attack(chosen, bits, target) for target in range(len(models))])
            own = bits[0], delta, each
            bound = best(strongest[0], *own, shares=_SHARES)
            provable = most_provable(len(keys), delta, each, shares=_SHARES)
            seen_of = strongest[0], bits[0]
            budget = promised.budget if promised else math.inf
            decided = decision(seen_of, delta, budget, shares=_SHARES)
            found = Found.of(strongest.ravel(), bits.ravel(), confidence)
            attacks.append(Attack(name, view, found, bound, provable, decided))
    worst, exposed, everybody = _exposed(engine, strongest, bits, confidence)
    findings = [_finding(attack, promised) for attack in attacks]
    return Membership(attacks, worst, exposed, everybody, *bits.shape, findings)


def signals(
    engine: CohortEngine, config: ExperimentConfig, models: Sequence[Released]
) -> dict[str, Scores]:
    """What every model says of every person, float64 [models, people] by name."""
    keys = list(engine.population.keys)
    found = {"scores": np.stack([log_likelihoods(engine, config, m, keys) for m in models])}
    names = rule_of(config).moving(engine.schema.names)
    moving = engine.schema.subset(names)
    places = engine.schema.places(moving)
    flat = np.stack([engine.schema.join(model.adapter) for model in models])
    own = updates_of(engine, config, keys, flat.mean(axis=0), names)  # [people, moving.dim]
    theta = flat[:, places] - flat[:, places].mean(axis=0)
    found["adapter"] = _decoded(own.astype(np.float64), theta)
    counts = [model.popularity for model in models if model.popularity is not None]
    if len(counts) == len(models):
        items = len(engine.population.catalogue)
        shares = [user_histogram(history_of(engine.population, key), items) for key in keys]
        found["histogram"] = np.stack(counts) @ np.stack(shares).T.astype(np.float64)
    return found


def log_likelihoods(
    engine: CohortEngine, config: ExperimentConfig, model: Released, keys: Sequence[int]
) -> Scores:
    """Mean log-likelihood of everyone's own training items, each after those before it, [people].

    0 of somebody without any.
    """
    cuts = [user_windows(history_of(engine.population, key), config) for key in keys]
    owner = np.repeat(np.arange(len(keys)), [len(cut) for cut in cuts])
    together = Windows(
        np.concatenate([cut.inputs for cut in cuts]), np.concatenate([cut.targets for cut in cuts])
    )
    found = np.zeros(len(keys))
    np.add.at(found, owner, likelihood.log_likelihoods(engine, model.adapter, together))
    counted = np.bincount(owner, (together.targets >= 0).sum(-1), minlength=len(keys))
    return found / np.maximum(counted, 1)


def rmia(chosen: Sequence[Scores], bits: Bits, target: int) -> Scores:
    """RMIA of the sum of signals, each in units of its own spread.

    Parameters
    ----------
    chosen : sequence of float64 [models, people]
        Log-likelihoods up to a factor.
    bits : bool [models, people]
        Not asked for: references are not told apart.
    target : int

    Returns
    -------
    float64 [people]
        In (0, 1]: the share of everybody that a person is at least as likely in as.
    """
    ratio = np.zeros(bits.shape[1])
    for signal in chosen:
        others = np.delete(signal, target, axis=0)
        spread = max(float((others - others.mean(0)).std()), 1e-30)
        ratio += (signal[target] - others.mean(0)) / spread
    share: Scores = np.searchsorted(np.sort(ratio), ratio, side="right") / len(ratio)
    return share


def lira(chosen: Sequence[Scores], bits: Bits, target: int) -> Scores:
    """LiRA of several signals as if they were independent: their log-ratios are added.

    Parameters
    ----------
    chosen : sequence of float64 [models, people]
    bits : bool [models, people]
        The target's own are not read.
    target : int

    Returns
    -------
    float64 [people]
        Above 0 where somebody is rather in than not.
    """
    total: Scores = np.sum([_log_ratio(signal, bits, target) for signal in chosen], axis=0)
    return total


def _log_ratio(signal: Scores, bits: Bits, target: int) -> Scores:
    others, inside = np.delete(signal, target, axis=0), np.delete(bits, target, axis=0)
    there, out = inside.sum(0), (~inside).sum(0)
    both = (there > 0) & (out > 0)
    means = [(others * of).sum(0) / np.maximum(of.sum(0), 1) for of in (inside, ~inside)]
    apart = np.where(both, means[0] - means[1], 0.0)
    usual = float(apart[both].mean()) if both.any() else 0.0

    def middle(shift: Scores | float) -> Scores:
        """Between a person's two worlds, from whatever was seen of them."""
        found: Scores = (others - np.where(inside, shift, -np.asarray(shift)) / 2).mean(0)
        return found

    left = others - middle(usual) - np.where(inside, usual, -usual) / 2
    variance = float((left**2).mean()) * len(others) / (len(others) - 1) + 1e-30
    known = there * out / np.maximum(there + out, 1)  # by which `apart` is known: variance / known
    drawn = float(apart[both].var() - (variance / known[both]).mean()) if both.any() else 0.0
    trust = known / (known + variance / max(drawn, _LEAST * variance))
    shift = usual + trust * np.where(both, apart - usual, 0.0)
    ratio: Scores = (signal[target] - middle(shift)) * shift / variance
    return ratio


def _decoded(own: Scores, theta: Scores) -> Scores:
    """How much of everyone's update [people, dim] adapters [models, dim] hold, [models, people]."""
    alike = own @ own.T
    ridge = _RIDGE * max(float(np.diag(alike).mean()), 1e-30)
    solved = np.linalg.solve(alike + ridge * np.eye(len(alike)), own @ theta.T)
    return np.asarray(solved.T, dtype=np.float64)


def _exposed(
    engine: CohortEngine, scores: Scores, bits: Bits, confidence: float
) -> tuple[list[Exposed], Rate, Rate]:
    """The most exposed by half of the runs, and what of them and of all is right in the others."""
    half = len(scores) // 2
    toward = np.where(bits, scores, -scores)  # above 0 where a guess is right
    shift = toward[:half].mean(0)
    right = toward[half:] > 0
    order = np.argsort(-shift, kind="stable")
    most = order[: max(1, round(_EXPOSED * len(order)))]
    keys = engine.population.keys
    worst = [
        Exposed(
            keys[person],
            len(history_of(engine.population, keys[person])),
            math.sqrt(2 * max(float(shift[person]), 0.0)),
            Rate.of(int(right[:, person].sum()), len(right), confidence),
        )
        for person in most[:10].tolist()
    ]
    chosen = Rate.of(int(right[:, most].sum()), right[:, most].size, confidence)
    return worst, chosen, Rate.of(int(right.sum()), right.size, confidence)


def _finding(attack: Attack, promised: Guarantee | None) -> Finding:
    name = f"membership, {attack.name}, {attack.threat_model}"
    found = attack.found
    figures = {
        "bound": attack.bound,
        "most_provable": attack.provable,
        **attack.decision.figures(),
        "auc": found.auc.value,
        **{f"tpr@{rate:g}": of.value for rate, of in found.at.items()},
    }
    told = "Of those who were in it finds " + " and ".join(found.told(rate) for rate in found.at)
    verdict, about = judged(attack.bound, attack.provable, promised, attack.decision)
    return Finding(name, verdict, attack.threat_model, f"{about}. {told}", figures)
