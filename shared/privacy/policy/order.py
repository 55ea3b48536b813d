"""When one policy is at most as strong as another: the order that a device holds a server to.

A policy may follow an agreed one if every promise that was agreed is kept by one of its own:

    unit        the same, or user where example was agreed: a window is part of a person
    trust       the same, or one that trusts fewer: local, then distributed, then central
    relation    the same: neither implies the other at equal epsilon
    adversary   the same words where unit and trust are the same; or sums over at least as many
                devices, with as many in league, where sums or each one's own were agreed
    group       at least as many units together
    epsilon     at most the agreed one; delta too
    releases    of the agreed kinds only, each with the same mechanism, at least as much noise, a
                clip at most as large, at most as often and as soon again, and at most the agreed
                cost

and if it rests on at least as many users, has at most as many rounds, takes at most as much of one
person, and keeps aggregation, adapter and issuer. Settings that bear on none of these, and the time
in which it holds, may differ. What cannot be compared counts as weaker.

Noise is calibrated by a search whose last digits differ from machine to machine. No comparison here
lets less noise pass for as much; `restates` lets a little more pass for the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from shared.errors import ConfigError
from shared.privacy.accounting.steps import SkellamStep, Step, steps_of
from shared.privacy.guarantee import Guarantee, seen_of_each
from shared.privacy.policy.signed import Policy, Promise, PromisedRelease

_PROTECTS = {"example": 0, "user": 1}
TRUSTS_LESS = {"central": 0, "distributed": 1, "local": 2}
_CALIBRATED = 1e-5  # relative: how far above the least noise `least_noise` may end


def restates(policy: Policy, derived: tuple[Promise, ...]) -> list[str]:
    """In what a policy's promises are not those that its settings give, in words.

    Parameters
    ----------
    policy : Policy
        As it was signed, perhaps on another machine.
    derived : tuple of Promise
        From the same settings, here.

    Returns
    -------
    list of str
        Empty if they are the same but for noise that another search may have found: as much as was
        derived here or, relative to it, up to 1e-5 more.
    """
    if len(policy.promises) != len(derived):
        return [f"promises: {len(policy.promises)}, expected {len(derived)}"]
    own = replace(policy, promises=derived)
    return weaknesses(policy, own) or weaknesses(own, policy, _CALIBRATED)


def weaknesses(offered: Policy, agreed: Policy, slack: float = 0.0) -> list[str]:
    """Everything in which the offered policy is weaker than the agreed one, in words.

    Parameters
    ----------
    offered, agreed : Policy
    slack : float
        >= 0: by how much less noise, relative, still counts as as much. What a device agrees to
        is compared without.

    Returns
    -------
    list of str
        Empty if it may follow the agreed one.
    """
    found = [
        *_other("aggregation", offered.aggregation, agreed.aggregation),
        *_other("adapter schema", offered.schema, agreed.schema),
        *_other("issuer", offered.issuer, agreed.issuer),
        *_more("rounds", offered.rounds, agreed.rounds),
        *_more("windows of one person", offered.windows, agreed.windows),
        *_more("interactions of a window", offered.window_length, agreed.window_length),
        *_fewer("users that delta rests on", offered.users, agreed.users),
    ]
    for promise in agreed.promises:
        found += sorted((_broken(promise, by, slack) for by in offered.promises), key=len)[0]
    # Whichever promise states it: a message that was not agreed is one more.
    kept, further = ([r for p in of.promises for r in p.releases] for of in (agreed, offered))
    return list(dict.fromkeys([*found, *_more_kinds(further, kept)]))


def _broken(agreed: Promise, offered: Promise, slack: float) -> list[str]:
    """In what an offered promise does not keep the agreed one."""
    ours, theirs = offered.guarantee, agreed.guarantee
    found = [
        *_less("unit", ours.unit, theirs.unit, _PROTECTS),
        *_less("trust", ours.trust, theirs.trust, TRUSTS_LESS),
        *_other("relation", ours.relation, theirs.relation),
        *_adversary(ours, theirs),
        *_fewer("units covered together", ours.group, theirs.group),
        *_more("epsilon", ours.budget, theirs.budget),
        *_more("delta", ours.delta, theirs.delta),
    ]
    for release in offered.releases:
        before = agreed.of(release.kind)
        found += [] if before is None else _costlier(release, before, slack)
    return found


def _adversary(offered: Guarantee, agreed: Guarantee) -> Iterable[str]:
    """Of one unit and trust it is told in one way; words that differ cannot be compared."""
    if (offered.unit, offered.trust) != (agreed.unit, agreed.trust):
        return []
    (ours, *sums), (theirs, *sizes) = (seen_of_each(of.adversary) for of in (offered, agreed))
    if ours == theirs and all(one >= other for one, other in zip(sums, sizes, strict=True)):
        return []
    return _other("adversary", offered.adversary, agreed.adversary)


def _more_kinds(offered: Iterable[PromisedRelease], agreed: Iterable[PromisedRelease]) -> list[str]:
    more = {release.kind for release in offered} - {release.kind for release in agreed}
    return [f"a release {kind!r} was not agreed" for kind in sorted(more)]


def _costlier(offered: PromisedRelease, agreed: PromisedRelease, slack: float) -> list[str]:
    name, least = offered.kind, agreed.noise_multiplier * (1 - slack)
    found = [
        *_other(f"mechanism of {name}", offered.mechanism, agreed.mechanism),
        *_fewer(f"noise multiplier of {name}", offered.noise_multiplier, least),
        *_more(f"clipping norm of {name}", offered.clipping_norm, agreed.clipping_norm),
        *_more(f"participations in {name}", offered.times, agreed.times),
        *_fewer(f"rounds between those in {name}", offered.separation, agreed.separation),
    ]
    if not found and not _costs_at_most(offered, agreed, slack):
        found.append(f"cost of {name}: more than was agreed, or not comparable with it")
    return found


def _costs_at_most(offered: PromisedRelease, agreed: PromisedRelease, slack: float) -> bool:
    """Whether one participation is dominated, step by step, by an agreed one."""
    if offered.event == agreed.event:
        return True
    try:
        ours, theirs = (steps_of(release.cost) for release in (offered, agreed))
    except ConfigError:  # of a kind or size that no accountant takes
        return False
    if len(ours) != len(theirs):
        return False
    return all(_dominated(one, other, slack) for one, other in zip(ours, theirs, strict=True))


def _dominated(one: Step | SkellamStep, other: Step | SkellamStep, slack: float) -> bool:
    # Less noise, more sampling, more steps or a larger sensitivity each lose more privacy.
    if isinstance(one, Step) and isinstance(other, Step):
        return (
            one.noise_multiplier >= other.noise_multiplier * (1 - slack)
            and one.sampling_probability <= other.sampling_probability
            and one.times <= other.times
        )
    if isinstance(one, SkellamStep) and isinstance(other, SkellamStep):
        return (
            one.variance >= other.variance * (1 - slack) ** 2
            and one.l2_sensitivity <= other.l2_sensitivity
            and one.l1_sensitivity <= other.l1_sensitivity
            and one.times <= other.times
        )
    return False


def _other(name: str, offered: str, agreed: str) -> Iterable[str]:
    return [] if offered == agreed else [f"{name} = {offered}: agreed was {agreed}"]


def _more(name: str, offered: float, agreed: float) -> Iterable[str]:
    within = offered <= agreed
    return [] if within else [f"{name} = {offered:g}: agreed was at most {agreed:g}"]


def _fewer(name: str, offered: float, agreed: float) -> Iterable[str]:
    within = offered >= agreed
    return [] if within else [f"{name} = {offered:g}: agreed was at least {agreed:g}"]


def _less(name: str, offered: str, agreed: str, ranks: dict[str, int]) -> Iterable[str]:
    within = ranks[offered] >= ranks[agreed]
    return [] if within else [f"{name} = {offered}: agreed was {agreed}"]
