"""Lower bounds on epsilon from one replay, by who attacks: what canaries give away, and controls.

Only a bound decides; an estimate stands beside it, labelled as one. Each control says whether the
attack finds what is there to be found, and nothing else.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shared.privacy.guarantee import Guarantee
from simulations.audit import evidence
from simulations.audit.canaries import Canaries
from simulations.audit.checks.record import raw
from simulations.audit.checks.risk import RISK
from simulations.audit.findings import Finding, judged
from simulations.audit.replay.observed import Sums, Vector

ANY, GAUSSIAN, FITTED = "epsilon, any mechanism", "epsilon, Gaussian", "epsilon, estimated"
OFF, HELD_OUT = "control: noise off", "control: held out"

ALL_ROUNDS = "white box: every released sum of every round"
FINAL = "white box: the released adapter and the public start alone"


def scores(observed: Sums, canaries: Canaries, view: str) -> Vector:
    """How far each canary seems to be in [m], by what a view shows.

    Parameters
    ----------
    observed : Sums
    canaries : Canaries
    view : str
        `ALL_ROUNDS` or `FINAL`.
    """
    if view == FINAL:
        moved: Vector = observed.moved[canaries.coordinates]
        return moved
    found = np.zeros(len(canaries.keys))
    for each in observed.of("update"):
        found += each.vector[canaries.coordinates] / (each.deviation or 1.0)
    return found


def bounds(observed: Sums, confidence: float = 0.95) -> list[Finding]:
    """What the canaries of one replay show of epsilon, view by view.

    Parameters
    ----------
    observed : Sums
    confidence : float
        In (0, 1), of each bound alone.
    """
    if (about := _about(observed)) is None:
        return [Finding(ANY, "not shown", ALL_ROUNDS, "No canary is in a sum that was released")]
    views = (ALL_ROUNDS, FINAL) if len(observed.moved) else (ALL_ROUNDS,)
    return [each for view in views for each in _of_view(observed, about, view, confidence)]


_About = tuple[Canaries, Guarantee]


def _about(observed: Sums) -> _About | None:
    """Whom guesses are about, and what is promised; None where there is nothing to guess by."""
    if observed.canaries is None or observed.promised is None or not observed.of("update"):
        return None
    return observed.canaries, observed.promised


def _of_view(observed: Sums, about: _About, view: str, confidence: float) -> list[Finding]:
    canaries, promised = about
    found = scores(observed, canaries, view)
    included, delta = canaries.included, promised.delta
    provable = most_provable(len(found), confidence)
    told = {"canaries": float(len(found)), "confidence": confidence, "delta": delta}
    findings = []
    kinds = ((ANY, evidence.one_run, ""), (GAUSSIAN, evidence.gaussian_one_run, _ASSUMED))
    for name, how, assumed in kinds:
        bound = evidence.best(found, included, delta, confidence, how)
        verdict, words = judged(bound, provable, promised)
        figures = told | {"bound": bound, "most provable": provable}
        findings.append(Finding(name, verdict, view, words + assumed, figures))
    estimate = evidence.fitted(found, included, delta)
    words = f"An estimate, no bound, as if scores were Gaussian: {estimate:.2f}; decides nothing"
    return [*findings, Finding(FITTED, "not shown", view, words, told | {"estimate": estimate})]


_ASSUMED = "; if all rounds together are one Gaussian mechanism"


def most_provable(canaries: int, confidence: float) -> float:
    """The largest epsilon that so many canaries, all guessed right, could show."""
    each = 1 - (1 - confidence) / len(evidence.SHARES)
    guesses = [max(2, 2 * round(share * canaries / 2)) for share in evidence.SHARES]
    return max(evidence.most_provable(some, each) for some in guesses)


def without_noise(observed: Sums) -> Sums:
    """The same as if what was sent had been released as it is."""
    exact = [
        replace(each, vector=each.exchange.contributions.astype(np.float64).sum(0))
        for each in observed.releases
        if each.exchange.known
    ]
    return replace(observed, releases=tuple(exact))


def controls(observed: Sums, confidence: float = 0.95) -> list[Finding]:
    """Whether this audit would have seen that there is no noise, and sees nobody who was not in.

    The first takes the very sums of the replay without their noise: a bound above the claim flags
    them or, where no bound of so many canaries reaches the claim, their rest, which is no noise.
    The second guesses among people none of whom was in; it is wrong with probability 1e-4 at most.
    """
    if (about := _about(observed)) is None:
        return []
    return [_noise_off(observed, about, confidence), _held_out(observed, about)]


def _noise_off(observed: Sums, about: _About, confidence: float) -> Finding:
    bare = without_noise(observed)
    if not bare.releases:
        return Finding(OFF, "not shown", ALL_ROUNDS, "What was sent is not known, without noise")
    found = _of_view(bare, about, ALL_ROUNDS, confidence)
    by = [each for each in (*found, raw(bare)) if each.verdict == "violated"]
    figures = {"bound": found[0].figures["bound"], "Gaussian bound": found[1].figures["bound"]}
    figures |= {"most provable": found[0].figures["most provable"]}
    if not by:
        words = "Without its noise this run would not have been flagged: this audit shows nothing"
        return Finding(OFF, "violated", ALL_ROUNDS, words, figures)
    words = f"Without its noise this run is flagged, first by: {by[0].name}"
    return Finding(OFF, "holds", ALL_ROUNDS, words, figures)


def _held_out(observed: Sums, about: _About) -> Finding:
    canaries, promised = about
    out = scores(observed, canaries, ALL_ROUNDS)[~canaries.included]
    bits = np.random.default_rng(observed.seed).random(len(out)) < 0.5
    bound = evidence.best(out, bits, promised.delta, 1 - RISK) if len(out) >= 2 else 0.0
    figures = {"people": float(len(out)), "bound": bound}
    words = f"Among {len(out)} people none of whom was in, the bound is {bound:.2f}"
    return Finding(HELD_OUT, "violated" if bound > 0 else "holds", ALL_ROUNDS, words, figures)
