"""Lower bounds on epsilon from one replay, by who attacks: what canaries give away, and controls.

Only a bound decides, and one that is wrong with probability 1e-4 at most; the bound at 95 % is
shown beside it, and an estimate, labelled as one. Each control says whether the attack finds what
is there to be found, and nothing else.

What holds for every mechanism is decided at a delta of its own: with many canaries the chance delta
of telling everything outright, m times over, would leave no risk to decide with.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulations.audit import evidence
from simulations.audit.checks.record import raw
from simulations.audit.checks.risk import RISK, decision
from simulations.audit.findings import Finding, judged
from simulations.audit.replay.observed import Sums
from simulations.audit.threats.seen import Blind, View, views

ANY, GAUSSIAN, FITTED = "epsilon, any mechanism", "epsilon, Gaussian", "epsilon, estimated"
OFF, HELD_OUT = "control: noise off", "control: held out"

_ASSUMED = ". It holds if all that was released is one Gaussian mechanism"
_DRAWN = "Who is asked is drawn: what happened is no Gaussian mechanism, and no such bound holds"
_PART = 0.01  # of the risk, that delta may take of a decision


def bounds(observed: Sums, confidence: float = 0.95) -> list[Finding]:
    """What the canaries of one replay show of epsilon, view by view.

    Parameters
    ----------
    observed : Sums
    confidence : float
        In (0, 1), of each bound that is shown alone; a verdict is wrong with probability 1e-4.
    """
    return [each for view in views(observed) for each in _of_view(view, confidence)]


def _of_view(view: View | Blind, confidence: float) -> list[Finding]:
    if isinstance(view, Blind):
        return [Finding(ANY, "not shown", view.name, view.why)]
    told = {"canaries": float(len(view.scores)), "confidence": confidence}
    told |= {"delta": view.promised.delta, "claimed": view.promised.budget}
    findings = [_bound(view, ANY, evidence.one_run, told)]
    if view.sampled:
        findings.append(Finding(GAUSSIAN, "not shown", view.name, _DRAWN, told))
    else:
        findings.append(_bound(view, GAUSSIAN, evidence.gaussian_one_run, told))
    estimate = evidence.fitted(view.scores, view.included, view.promised.delta)
    words = f"An estimate and no bound, as if scores were Gaussian: {estimate:.2f}. Decides nothing"
    findings.append(Finding(FITTED, "not shown", view.name, words, told | {"estimate": estimate}))
    return findings


def _bound(view: View, name: str, how: evidence.Bound, told: dict[str, float]) -> Finding:
    seen, delta = (view.scores, view.included), view.promised.delta
    bound = evidence.best(*seen, delta, told["confidence"], how)
    provable = evidence.most_provable(len(view.scores), delta, told["confidence"], how)
    if how is evidence.one_run:
        delta = min(delta, _PART * RISK / len(view.scores))
    decided = decision(seen, delta, view.claimed(delta), how)
    verdict, words = judged(bound, provable, view.promised, decided)
    figures = told | {"bound": bound, "most provable": provable} | decided.figures()
    words += _ASSUMED if name == GAUSSIAN else ""
    return Finding(name, verdict, view.name, words, figures)


def without_noise(observed: Sums) -> Sums:
    """The same as if what was sent had been released as it is."""
    exact = [
        replace(each, vector=each.exchange.contributions.astype(np.float64).sum(0))
        for each in observed.releases
        if each.exchange.known and each.deviation > 0
    ]
    return replace(observed, releases=tuple(exact))


def noise_off(observed: Sums, confidence: float = 0.95) -> list[Finding]:
    """The control whether this audit would have seen that there is no noise; none without canaries.

    It takes the very sums of the replay without their noise: a bound above the claim flags them or,
    where no bound of so many canaries reaches the claim, their rest, which is no noise.
    """
    first = views(observed)[0]
    return [] if isinstance(first, Blind) else [_noise_off(observed, first, confidence)]


def _noise_off(observed: Sums, view: View, confidence: float) -> Finding:
    bare = without_noise(observed)
    if not bare.releases:
        why = "Noise that devices added cannot be taken off their messages again"
        return Finding(OFF, "not shown", view.name, why)
    found = _of_view(views(bare)[0], confidence)
    by = [each for each in (*found, raw(bare)) if each.verdict == "violated"]
    names = {ANY: "bound", GAUSSIAN: "Gaussian bound"}
    figures = {
        names[each.name]: each.figures["bound"]
        for each in found
        if each.name in names and "bound" in each.figures
    }
    if not by:
        words = "Without its noise this run would not have been flagged: this audit shows nothing"
        return Finding(OFF, "violated", view.name, words, figures)
    words = f"Without its noise this run is flagged by: {', '.join(each.name for each in by)}"
    return Finding(OFF, "holds", view.name, words, figures)


def held_out(observed: Sums) -> list[Finding]:
    """The control whether it finds somebody who was not there; none without canaries.

    Parameters
    ----------
    observed : Sums
        Of `Replay.held_out`: none of its canaries was in, and coins that were tossed before say
        who was. More right guesses than coins allow with probability 1e-4, over all views, come of
        the audit itself.
    """
    seen = [view for view in views(observed) if isinstance(view, View)]
    if not seen:
        return []
    told, least = " and ".join(view.name for view in seen), min(len(view.scores) for view in seen)
    sure = 1 - RISK / len(seen)
    bound = max(evidence.best(view.scores, view.included, 0.0, sure) for view in seen)
    figures = {"canaries": float(least), "views": float(len(seen)), "bound": bound}
    if not evidence.most_provable(least, 0.0, sure):
        words = f"{least} canaries are too few: were all guesses right, it could be chance"
        return [Finding(HELD_OUT, "not shown", told, words, figures)]
    if bound > 0:
        words = (
            "None of the canaries was in, and guesses about who was are right more often than "
            "chance allows: what this audit finds of anyone is not to be relied on"
        )
        return [Finding(HELD_OUT, "violated", told, words, figures)]
    words = f"None of {least} canaries was in, and guesses about who was are no better than chance"
    return [Finding(HELD_OUT, "holds", told, words, figures)]
