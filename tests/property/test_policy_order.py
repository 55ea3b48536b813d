"""Whatever single thing of a policy gets weaker, the device that agreed refuses it."""

import dataclasses

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.privacy.accounting.events import event_to_json
from shared.privacy.guarantee import Guarantee
from shared.privacy.policy.order import weaknesses
from shared.privacy.policy.signed import Policy, Promise, PromisedRelease

UNITS, TRUSTS = ("example", "user"), ("central", "distributed", "local")
numbers = st.floats(0.1, 10.0)
counts = st.integers(10, 50)


@st.composite
def releases(draw, kind="update"):
    z, steps = draw(numbers), draw(st.integers(1, 4))
    q = draw(st.sampled_from([0.25, 0.5, 1.0]))
    inner = GaussianDpEvent(z) if q == 1 else PoissonSampledDpEvent(q, GaussianDpEvent(z))
    event = inner if steps == 1 else SelfComposedDpEvent(inner, steps)
    return PromisedRelease(
        kind=kind,
        mechanism=draw(st.sampled_from(["gaussian", "skellam"])),
        noise_multiplier=z,
        clipping_norm=draw(numbers),
        times=draw(counts),
        separation=draw(st.integers(1, 5)),
        event=event_to_json(event),
    )


@st.composite
def a_promise(draw):
    guarantee = Guarantee(
        unit=draw(st.sampled_from(UNITS)),
        trust=draw(st.sampled_from(TRUSTS)),
        relation="zero_out",
        adversary=draw(st.sampled_from(["who sees all", "who sees less"])),
        group=draw(st.integers(2, 5)),
        budget=draw(numbers),
        delta=draw(st.floats(1e-8, 1e-2)),
    )
    return Promise(guarantee, tuple(draw(releases(kind)) for kind in ("histogram", "update")))


@st.composite
def policies(draw):
    return Policy(
        promises=tuple(draw(st.lists(a_promise(), min_size=1, max_size=2))),
        users=draw(counts),
        rounds=draw(counts),
        windows=draw(counts),
        window_length=draw(counts),
        aggregation=draw(st.sampled_from(["fedit", "ffa"])),
        schema=draw(st.sampled_from(["a", "b"])),
        settings="0" * 64,
        valid_from="2026-11-22T00:00:00+00:00",
        valid_until="2026-12-22T00:00:00+00:00",
        issuer="a" * 64,
    )


def release_weaker(**change):
    """The same release of every promise, with a change."""

    def weaken(policy):
        def one(release):
            new = {name: by(getattr(release, name)) for name, by in change.items()}
            return dataclasses.replace(release, **new) if release.kind == "update" else release

        return every_promise(policy, lambda p: {"releases": tuple(map(one, p.releases))})

    return weaken


def every_promise(policy, change):
    changed = tuple(dataclasses.replace(p, **change(p)) for p in policy.promises)
    return dataclasses.replace(policy, promises=changed)


def every_guarantee(policy, change):
    def one(p):
        return {"guarantee": dataclasses.replace(p.guarantee, **change(p.guarantee))}

    return every_promise(policy, one)


def demoted(name, ranks):
    """All promises with the weakest word; None if they have it already."""

    def weaken(policy):
        if all(getattr(p.guarantee, name) == ranks[0] for p in policy.promises):
            return None
        return every_guarantee(policy, lambda p: {name: ranks[0]})

    return weaken


def costlier(event):
    if event["kind"] == "self_composed":
        return event | {"count": event["count"] + 1}
    return {"kind": "self_composed", "count": 2, "event": event}


def another_kind(policy):
    def more(promise):
        first = dataclasses.replace(promise.releases[0], kind="metrics")
        return {"releases": (*promise.releases, first)}

    return every_promise(policy, more)


def changed(**change):
    return lambda policy: dataclasses.replace(
        policy, **{name: by(getattr(policy, name)) for name, by in change.items()}
    )


WEAKER = {
    "unit": demoted("unit", UNITS),
    "trust": demoted("trust", TRUSTS),
    "relation": lambda policy: every_guarantee(policy, lambda p: {"relation": "replace_one"}),
    "group": lambda policy: every_guarantee(policy, lambda p: {"group": 1}),
    "adversary": lambda policy: every_guarantee(policy, lambda p: {"adversary": "who sees little"}),
    "epsilon": lambda policy: every_guarantee(policy, lambda p: {"budget": 10 * 1.01}),
    "no privacy": lambda policy: every_guarantee(policy, lambda p: {"budget": float("inf")}),
    "delta": lambda policy: every_guarantee(policy, lambda p: {"delta": 0.02}),
    "noise": release_weaker(noise_multiplier=lambda z: z * 0.99),
    "clip": release_weaker(clipping_norm=lambda c: c * 1.01),
    "participations": release_weaker(times=lambda n: n + 1),
    "separation": release_weaker(separation=lambda n: n - 1),
    "mechanism": release_weaker(mechanism=lambda word: "laplace"),
    "steps": release_weaker(event=costlier),
    "another release": another_kind,
    "rounds": changed(rounds=lambda n: n + 1),
    "users": changed(users=lambda n: n - 1),
    "windows": changed(windows=lambda n: n + 1),
    "length": changed(window_length=lambda n: n + 1),
    "aggregation": changed(aggregation=lambda word: "krum"),
    "adapter": changed(schema=lambda word: "c"),
    "issuer": changed(issuer=lambda key: "b" * 64),
}


@pytest.mark.parametrize("case", WEAKER)
@settings(max_examples=15)
@given(policy=policies())
def test_every_single_weakening_is_refused(case, policy):
    agreed = policy
    if len(agreed.promises) > 1 and case not in ("unit", "trust"):
        # One promise may keep two: weaken one that no other stands in for.
        agreed = dataclasses.replace(policy, promises=policy.promises[:1])
    weaker = WEAKER[case](agreed)
    if weaker is None:
        return
    assert weaknesses(weaker, agreed) != [], case


@settings(max_examples=15)
@given(policy=policies())
def test_what_was_agreed_may_be_asked_again(policy):
    later = dataclasses.replace(policy, valid_until="2027-12-22T00:00:00+00:00", settings="1" * 64)
    assert weaknesses(policy, policy) == []
    assert weaknesses(later, policy) == []


STRONGER = {
    "epsilon": lambda policy: every_guarantee(policy, lambda p: {"budget": p.budget / 2}),
    "delta": lambda policy: every_guarantee(policy, lambda p: {"delta": p.delta / 2}),
    "unit": lambda policy: every_guarantee(policy, lambda p: {"unit": "user"}),
    "group": lambda policy: every_guarantee(policy, lambda p: {"group": p.group + 1}),
    "trust": lambda policy: every_guarantee(policy, lambda p: {"trust": "local"}),
    "clip": release_weaker(clipping_norm=lambda c: c / 2),
    "participations": release_weaker(times=lambda n: n - 1),
    "rounds": changed(rounds=lambda n: n - 1),
    "users": changed(users=lambda n: n + 1),
    "fewer releases": lambda policy: every_promise(policy, lambda p: {"releases": p.releases[:1]}),
}


@pytest.mark.parametrize("case", STRONGER)
@settings(max_examples=15)
@given(policy=policies())
def test_what_is_stronger_may_follow(case, policy):
    assert weaknesses(STRONGER[case](policy), policy) == []


@settings(max_examples=30)
@given(policy=policies(), cases=st.lists(st.sampled_from(sorted(STRONGER)), min_size=1, max_size=4))
def test_steps_of_strengthening_add_up_and_do_not_lead_back(policy, cases):
    stronger = policy
    for case in cases:
        stronger = STRONGER[case](stronger)
    assert weaknesses(stronger, policy) == []
    if stronger != policy:
        assert weaknesses(policy, stronger) != []
