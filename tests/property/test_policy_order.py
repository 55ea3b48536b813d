"""Whatever single thing of a policy gets weaker, the device that agreed refuses it."""

import contextlib
import dataclasses
import itertools
from datetime import UTC, datetime

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from client.device.agreement import CAPS, LEDGER, PARTICIPATION, Agreement
from client.device.clock import Days
from shared.config import ExperimentConfig
from shared.errors import Declined
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.accounting.events import event_to_json
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.budget import records
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.order import restates, weaknesses
from shared.privacy.policy.signed import Policy, Promise, PromisedRelease
from tests.support.asking import asked
from tests.support.privacy.policies import noisier, operator, sealed

START = datetime(2026, 11, 22, 20, tzinfo=UTC)
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


@settings(max_examples=60)
@given(policy=policies(), data=st.data())
def test_what_may_follow_may_follow_what_that_followed(policy, data):
    """Transitive: over steps that strengthen and steps that weaken, most pairs are comparable."""
    changes = [*STRONGER.values(), *WEAKER.values()]
    chain = [policy]
    for change in data.draw(st.lists(st.sampled_from(changes), min_size=2, max_size=4)):
        chain.append(change(chain[-1]) or chain[-1])
    for first, second, third in itertools.permutations(chain, 3):
        if weaknesses(second, first) == weaknesses(third, second) == []:
            assert weaknesses(third, first) == []


def unsampled(policy):
    def one(release):
        event = {"kind": "gaussian", "noise_multiplier": release.noise_multiplier}
        return dataclasses.replace(release, event=event)

    return every_promise(policy, lambda p: {"releases": tuple(map(one, p.releases))})


@settings(max_examples=30)
@given(policy=policies(), more=st.floats(0, 9e-6), less=st.floats(1e-15, 1))
def test_of_two_searches_for_noise_the_stated_one_may_only_be_higher(policy, more, less):
    alone = dataclasses.replace(policy, promises=policy.promises[:1])
    assert restates(noisier(alone, 1 + more), alone.promises) == []
    assert restates(noisier(alone, 1 + 2e-5), alone.promises) != []
    assert restates(noisier(alone, 1 - less), alone.promises) != []
    for case in set(WEAKER) - {"noise", "unit", "trust"}:
        changed = WEAKER[case](alone)
        if (changed.promises, changed) != (alone.promises, alone) and case not in OF_THE_POLICY:
            assert restates(changed, alone.promises) != [], case


OF_THE_POLICY = {"rounds", "users", "windows", "length", "aggregation", "adapter", "issuer"}


@settings(max_examples=10)
@given(
    pair=st.lists(policies(), min_size=2, max_size=2),
    changes=st.lists(st.sampled_from(sorted(STRONGER)), max_size=3),
    caps=st.tuples(st.floats(0.5, 12.0), st.sampled_from([1e-9, 1e-5])),
    rounds=st.sampled_from([(1,), (1, 6)]),
)
def test_whatever_is_asked_an_owner_spends_at_most_the_cap(
    pair, changes, caps, rounds, tmp_path_factory
):
    """Of random policies, and of stricter ones after the first: at the owner's delta, in all."""
    first, second = pair
    stricter = first
    for change in changes:
        stricter = STRONGER[change](stricter)
    state = tmp_path_factory.mktemp("owner")
    epsilon_cap, delta = caps
    (state / CAPS).write_text(
        f'epsilon = {epsilon_cap!r}\ndelta = {delta!r}\nunit = "example"\nrounds_per_day = "inf"'
    )
    for number, drawn in enumerate((first, first, stricter, second, stricter)):
        policy = every_guarantee(
            unsampled(noisier(drawn, 3)), lambda p: {"delta": 1e-9, "group": 1}
        )
        policy = dataclasses.replace(
            policy, promises=policy.promises[:1], issuer=operator(), settings=f"{number:064x}"
        )
        text, owned = sealed(policy), policy.promises
        gate = Agreement(
            state, operator(), Days(state, lambda: START), lambda *_, owned=owned: owned
        )
        for kind, round_number in itertools.product(("histogram", "update"), rounds):
            about = {"users": policy.users, "settings": policy.settings, "policy": text}
            request = dataclasses.replace(asked(ExperimentConfig(), kind, round_number), **about)
            with (
                contextlib.suppress(Declined),
                gate.admitted(request, policy.schema),
            ):
                if owned[0].guarantee.trust == "local":  # recorded as the device draws its noise
                    gate.record(owned[0], policy).append(round_number, kind, owned[0].of(kind).cost)
    told = {}
    for kind in (PARTICIPATION, LEDGER):
        kept = [Ledger.open(file) for file in records(state / kind)]
        events = [(entry.event, 1) for ledger in kept for entry in ledger.entries]
        told[kind] = epsilon(events, delta)
    assert max(told.values()) <= epsilon_cap
