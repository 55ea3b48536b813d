"""What a point's settings promise, against what it claims and what its ledger was opened for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

from shared.config import ExperimentConfig, at_epsilon, settings_hash
from shared.errors import ConfigError
from shared.privacy.accounting.events import SkellamDpEvent, event_from_json
from shared.privacy.accounting.steps import steps_of
from shared.privacy.ledger.chain import LedgerHeader
from shared.privacy.plan.shared_noise import histogram_sum, moments_sum, update_sum
from shared.privacy.plan.terms import Terms, device_terms, server_terms
from simulations.results import Claim, Point, Results, Stated

_SAME = 1e-9  # figures that follow from each other by one division or root
_SUMS = {"update": update_sum, "histogram": histogram_sum, "moments": moments_sum}
# What is stated of the noise of releases that come in shares.
_NUMBERS = {
    "update": "noise_multiplier",
    "histogram": "histogram_noise_multiplier",
    "moments": "moments_noise_multiplier",
}


@dataclass(frozen=True)
class Expected:
    """The guarantees that a point's settings give.

    Parameters
    ----------
    config : ExperimentConfig or None
        The point's own settings.
    users : int
        Size of the population.
    cohort : float
        Expected users in a round.
    terms : tuple of Terms or None
        One for each guarantee, the server's first; one None where the settings are of no use.
    problems : tuple of str
        Why they are of no use.
    """

    config: ExperimentConfig | None
    users: int
    cohort: float
    terms: tuple[Terms | None, ...]
    problems: tuple[str, ...]


def expected_terms(results: Results, point: Point) -> Expected:
    """What the settings in results.json promise of a point."""
    users = results.users
    if users is None:
        claimed = f"users = {results.data.get('users')!r}"[:60]
        stated = f"results.json: data: {claimed}: expected a whole number above 0"
        return Expected(None, 0, 0.0, (None,), (stated,))
    try:
        experiment, target = results.experiment(), point.number("epsilon_target")
        config = at_epsilon(experiment, target, cast("int", point.stated["seed"]))
        if (people := experiment.data.people) not in (None, users):
            raise ConfigError(
                f"data.people = {people} in the settings, and there are {users} users"
            )
        cohort = config.federation.expected_cohort(users)
        found = [terms(config, users) for terms in (server_terms, device_terms)]
    except ConfigError as error:
        return Expected(None, users, 0.0, (None,), (str(error),))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"results.json: config does not give this point's settings ({error})"
        return Expected(None, users, 0.0, (None,), (reason,))
    given = tuple(at for at in found if at is not None)
    return Expected(config, users, cohort, given, ())


def settings_give_none(expected: Expected, terms: Terms | None) -> tuple[str, ...]:
    """The reason against a guarantee that a point's settings do not give; empty if they do."""
    known = expected.config is not None
    return ("the settings give no such guarantee",) if known and terms is None else ()


def settings_reasons(
    header: LedgerHeader | None, claim: Claim, expected: Expected, terms: Terms | None
) -> list[str]:
    """Where a guarantee's claim or ledger, if one is there, disagrees with the settings."""
    config = expected.config
    if config is None:
        return []  # why is among the problems of `expected`
    if terms is None:
        return list(settings_give_none(expected, terms))
    reasons = [
        f"{name} = {claimed!r} claimed, the settings give {given!r}"
        for name, claimed, given in claim.beside(terms.guarantee)
        if not isinstance(given, float) and claimed != given
    ]
    promised = terms.guarantee
    # An older run without private metrics, or moments, does not state their sampling.
    metrics = "metrics" in terms.times or "metrics_sampling" in claim.stated
    moments = "moments" in terms.times or "moments_sampling" in claim.stated
    for name, given in (
        ("epsilon_target", promised.budget),
        ("delta", promised.delta),
        ("cohort", expected.cohort),
        ("clipping_norm", terms.clip.norm),
        ("sampling_probability", terms.sampling_probability),
        ("histogram_sampling", terms.histogram_sampling),
        *([("moments_sampling", terms.histogram_sampling)] if moments else []),
        *([("metrics_sampling", terms.metrics_sampling)] if metrics else []),
        ("steps", terms.steps),
        ("updates", terms.updates),
    ):
        claimed = claim.number(name)
        if not math.isclose(claimed, given, rel_tol=_SAME):  # false for NaN
            reasons.append(f"{name} = {claimed:g} claimed, the settings give {given:g}")
    reasons += _times_reasons(claim, terms)
    reasons += _correlation_reasons(claim, terms)
    if promised.trust == "distributed":
        reasons += _share_reasons(claim, config, expected.users, terms)
    # A point is finished when all rounds are over, and not before.
    if claim.number("rounds") != config.federation.fixed_rounds:
        stated, given = str(claim.get("rounds"))[:40], config.federation.fixed_rounds
        reasons.append(f"rounds = {stated} claimed, the settings give {given}")
    settings = settings_hash(config)
    if header is not None and settings != header.settings:
        reasons.append(
            f"policy: the settings in results.json hash to {settings[:12]}, "
            f"the ledger was opened for {header.settings[:12]}"
        )
    return reasons


def _times_reasons(claim: Claim, terms: Terms) -> list[str]:
    """Kinds of release, and how often each may happen."""
    stated = claim.table("releases")
    times = {kind: at.get("times") if isinstance(at, dict) else at for kind, at in stated.items()}
    if times != terms.times:
        return [f"releases = {times} claimed, the settings give {terms.times}"]
    return []


def _correlation_reasons(claim: Claim, terms: Terms) -> list[str]:
    """Noise matrix, its sensitivity and the limits that it was computed for."""
    stated = claim.get("correlation")
    given = terms.correlation.stated() if terms.correlation else None
    if given is None or not isinstance(stated, dict) or set(stated) != set(given):
        same = stated == given
    else:
        same = all(math.isclose(Stated(stated).number(n), given[n], rel_tol=_SAME) for n in given)
    return [] if same else [f"correlation = {stated} claimed, the settings give {given}"]


def _share_reasons(claim: Claim, config: ExperimentConfig, users: int, terms: Terms) -> list[str]:
    """Where claimed events of noise in shares are not those of the settings' sums."""
    releases: Any = claim.get("releases")
    reasons = []
    for kind in terms.times:
        try:
            event = event_from_json(releases[kind]["event"])
            steps_of([(event, 1)])  # else there may be no root of it, and no ratio
        except (ConfigError, KeyError, TypeError):
            event = None
        if not isinstance(event, SkellamDpEvent):
            reasons.append(
                f"{kind}: no Skellam noise that an accountant covers; the settings' trust needs it"
            )
            continue
        moved = (event.l2_sensitivity, event.l1_sensitivity)
        stated, shown = claim.number(_NUMBERS[kind]), math.sqrt(event.variance) / moved[0]
        if not math.isclose(stated, shown, rel_tol=_SAME):
            reasons.append(f"{_NUMBERS[kind]} = {stated:g} claimed, the event has {shown:g}")
        given = _SUMS[kind](config, users).with_noise(shown).event()
        wanted = (given.l2_sensitivity, given.l1_sensitivity)
        if not all(math.isclose(a, b, rel_tol=_SAME) for a, b in zip(moved, wanted, strict=True)):
            reasons.append(
                f"{kind}: sensitivities {moved[0]:g} and {moved[1]:g} claimed, the settings' ring "
                f"gives {wanted[0]:g} and {wanted[1]:g}"
            )
    return reasons
