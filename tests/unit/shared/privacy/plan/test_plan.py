"""What each unit and trust is going to count, and that the calibrated plan stays within budget."""

import math
from dataclasses import replace

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from shared.config import ExperimentConfig, from_dict, to_dict
from shared.errors import ConfigError
from shared.privacy.accounting.accountant import (
    LEAST_DELTA,
    LEAST_EPSILON,
    default_delta,
    epsilon,
)
from shared.privacy.contribution.units import examples_per_user, histogram_limit, update_limit
from shared.privacy.guarantee import (
    EXAMPLE_CENTRAL,
    EXAMPLE_LOCAL,
    USER_CENTRAL,
    seen_of_each,
)
from shared.privacy.plan.exact_sum import fewest_in_any
from shared.privacy.plan.plan import Plan, device_plan, server_plan
from shared.privacy.plan.terms import Terms, device_terms, server_terms

USERS, WINDOWS, ROUNDS = 200, 5, 12
BARE = {"secure_aggregation": "off"}  # the server sees each contribution


def point(unit="user", trust="central", epsilon=4.0, train=None, federation=None, **privacy):
    seen = {} if trust == "distributed" else BARE
    return from_dict(
        {
            "train": {"max_windows": WINDOWS, "local_lr": 2.0, **(train or {})},
            "federation": {"rounds": ROUNDS, "cohort": 50.0, **seen, **(federation or {})},
            "privacy": {"unit": unit, "trust": trust, "epsilon": epsilon, **privacy},
        }
    )


def facts(terms: Terms | None):
    if terms is None:
        return None
    counted = (terms.sampling_probability, terms.steps, terms.updates, terms.histogram_sampling)
    told = terms.guarantee
    return (told.unit, told.trust, told.adversary, told.budget, *counted)


USER = ("user", "central", USER_CENTRAL, 4.0, 0.25, 1, ROUNDS, 1.0)
LOCAL = ("example", "local", EXAMPLE_LOCAL, 4.0, 0.5, 3, 7, 1.0)
OPEN = ("central", USER_CENTRAL, math.inf, 0.25, 1, ROUNDS, 1.0)  # without a budget


@pytest.mark.parametrize(
    ("config", "server", "device"),
    [
        (point(), USER, None),
        (
            point("example", example_sampling=0.5),
            # the cohort is a quarter of the users, and amplifies nothing
            ("example", "central", EXAMPLE_CENTRAL, 4.0, 0.5, 1, ROUNDS, 1.0),
            None,
        ),
        (
            point(
                "example",
                "local",
                train={"local_steps": 3},
                example_sampling=0.5,
                max_participations=7,
            ),
            None,
            LOCAL,
        ),
        (
            point("both", example_epsilon=1.5, example_sampling=0.5),
            USER,
            ("example", "local", EXAMPLE_LOCAL, 1.5, 0.5, 1, ROUNDS, 1.0),
        ),
        (point("both"), USER, ("example", "local", EXAMPLE_LOCAL, 4.0, 1.0, 1, ROUNDS, 1.0)),
        (point(epsilon=math.inf), ("user", *OPEN), None),
        (point("both", epsilon=math.inf), ("user", *OPEN), None),
        # The server sees what no one noised, whatever the private points of the sweep promise.
        (point("example", "local", epsilon=math.inf), ("example", *OPEN), None),
    ],
    ids=["user", "example", "local", "both", "both, one budget", "inf", "both inf", "local inf"],
)
def test_which_settings_give_which_guarantees(config, server, device):
    assert facts(server_terms(config, USERS)) == server
    assert facts(device_terms(config, USERS)) == device


def test_more_participations_than_rounds_are_no_more_than_rounds():
    terms = device_terms(point("example", "local", max_participations=99), USERS)
    assert terms is not None
    assert terms.updates == ROUNDS


def test_delta_is_by_the_units_that_are_protected():
    server, device = (terms(point("both"), USERS) for terms in (server_terms, device_terms))
    assert server is not None
    assert server.guarantee.delta == default_delta(USERS) == 1e-4
    assert device is not None
    assert device.guarantee.delta == default_delta(USERS * WINDOWS) == 1e-4
    assert examples_per_user(point()) == WINDOWS
    large = device_terms(point("example", "local"), 2 * USERS)
    assert large is not None
    assert large.guarantee.delta == default_delta(2 * USERS * WINDOWS) == 1e-5


@pytest.mark.parametrize(("unit", "most"), [("user", USERS), ("example", USERS * WINDOWS)])
def test_a_delta_of_one_over_the_units_or_more_is_refused(unit, most):
    assert server_terms(point(unit, delta=0.99 / most), USERS) is not None
    for delta in (1 / most, 1.01 / most):
        with pytest.raises(ConfigError, match=f"below 1/{most} .*one over the {unit}s"):
            server_terms(point(unit, delta=delta), USERS)


def test_an_epsilon_that_accountants_cannot_tell_from_none_is_refused():
    assert server_terms(point(epsilon=LEAST_EPSILON), USERS) is not None
    for unit, trust in (("user", "central"), ("example", "local"), ("user", "distributed")):
        terms = device_terms if trust == "local" else server_terms
        with pytest.raises(ConfigError, match=r"epsilon \(--epsilon\) = 0\.00099: expected at"):
            terms(point(unit, trust, epsilon=0.00099), USERS)


@pytest.mark.parametrize(
    ("unit", "trust"), [("user", "central"), ("example", "local"), ("user", "distributed")]
)
def test_a_delta_that_accountants_do_not_resolve_is_refused_for_what_it_is(unit, trust):
    terms = device_terms if trust == "local" else server_terms
    assert terms(point(unit, trust, delta=LEAST_DELTA), USERS) is not None
    for delta in (0.99 * LEAST_DELTA, 1e-300):
        with pytest.raises(ConfigError, match=r"privacy\.delta \(--delta\) = .* at least 1e-14"):
            terms(point(unit, trust, delta=delta), USERS)


def test_the_budget_of_examples_is_called_by_its_own_name():
    with pytest.raises(ConfigError, match=r"privacy\.example_epsilon = 0\.0005: expected"):
        device_terms(point("both", example_epsilon=5e-4), USERS)


def test_one_update_is_all_steps_of_a_device():
    plan = device_plan(
        point("example", "local", train={"local_steps": 3}, example_sampling=0.5), USERS
    )
    assert plan is not None
    z = plan.noise_multiplier
    sampled = PoissonSampledDpEvent(0.5, GaussianDpEvent(z))
    assert plan.planned("update").event == SelfComposedDpEvent(sampled, 3)
    assert plan.planned("histogram").event == GaussianDpEvent(plan.histogram_noise_multiplier)
    told = plan.guarantee
    assert (told.unit, told.trust, told.budget) == ("example", "local", 4.0)
    assert told.adversary == EXAMPLE_LOCAL


def test_what_arrives_is_bounded_by_what_the_guarantee_counts():
    # one example adds lr C / (q W) to an adapter: 2 x 0.3 / (0.5 x 5)
    by_window = {"example_clipping_norm": 0.3, "example_sampling": 0.5}
    terms = server_terms(point("example", **by_window), USERS)
    assert terms is not None
    assert terms.clip.norm == pytest.approx(0.24)
    assert update_limit(point("example", **by_window)) == pytest.approx(WINDOWS * 0.24)
    assert histogram_limit(point("example")) == WINDOWS
    for unit in ("user", "both"):
        assert update_limit(point(unit, clipping_norm=0.7)) == 0.7
        assert histogram_limit(point(unit)) == 1.0
    local = point("example", "local")
    assert update_limit(local) is histogram_limit(local) is None  # noised: no length is refused
    assert update_limit(point(epsilon=math.inf)) is None


REFUSED = {
    "local user": (("user", "local"), {}, "privacy.trust = local", "privacy.unit = user"),
    "local both": (("both", "local"), {}, "privacy.trust = local", "privacy.unit = both"),
    "batches": (
        ("example", "local"),
        {"local_batch": 2},
        "unit = example",
        "train.local_batch = 2",
    ),
    "batches, both": (
        ("both",),
        {"local_batch": 2},
        "privacy.unit = both",
        "train.local_batch = 2",
    ),
    "steps": (
        ("example", "central"),
        {"local_steps": 2},
        "privacy.unit = example under central trust",
        "train.local_steps = 2",
    ),
    "decay": (
        ("example", "central"),
        {"weight_decay": 0.1},
        "privacy.unit = example under central trust",
        "train.weight_decay = 0.1",
    ),
}


@pytest.mark.parametrize(("which", "train", "one", "other"), REFUSED.values(), ids=list(REFUSED))
def test_what_nothing_here_accounts_for_is_refused_naming_both(which, train, one, other):
    with pytest.raises(ConfigError) as caught:
        point(*which, train=train)
    message = str(caught.value)
    assert one in message
    assert other in message
    assert "does not go with" in message
    assert "\n" not in message


def whole(plan: Plan) -> float:
    """What all its releases cost, counted one by one as a ledger does."""
    events = [(at.event, 1) for at in plan.releases for _ in range(at.times)]
    return epsilon(events, *plan.guarantee.counted)


UNITS = [(unit, "central") for unit in ("user", "example", "both")] + [("example", "local")]


# Not shrunk: every example calibrates anew, and a failing one says enough as it is.
@settings(max_examples=6, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(
    unit=st.sampled_from(
        [("user", "central"), ("example", "central"), ("example", "local"), ("both", "central")]
    ),
    target=st.sampled_from([0.5, 2.0, 8.0]),
    inner=st.sampled_from([None, 1.0, 10.0]),
    rounds=st.integers(1, 40),
    steps=st.integers(1, 3),
    q=st.sampled_from([0.1, 0.5, 1.0]),
    participations=st.sampled_from([None, 1, 5]),
    popularity=st.booleans(),
)
def test_no_calibrated_plan_exceeds_its_budget(
    unit, target, inner, rounds, steps, q, participations, popularity
):
    central = unit == ("example", "central")
    config: ExperimentConfig = point(
        *unit,
        epsilon=target,
        train={"local_steps": 1 if central else steps},
        federation={"rounds": rounds, "popularity_start": popularity},
        example_sampling=q,
        **({"max_participations": participations} if "local" in unit or "both" in unit else {}),
        **({"example_epsilon": inner} if inner else {}),
    )
    plans = [plan for plan in (server_plan(config, USERS), device_plan(config, USERS)) if plan]
    assert len(plans) == (2 if unit[0] == "both" else 1)
    for plan in plans:
        wanted = (
            (inner or target) if unit[0] == "both" and plan.guarantee.unit == "example" else target
        )
        assert plan.guarantee.budget == wanted
        assert 0.98 * wanted < whole(plan) <= wanted * (1 + 1e-6)
        update = replace(plan.planned("update"), times=plan.updates + 1)
        one_more = replace(plan, releases=(update, *plan.releases[1:]))
        assert whole(one_more) > whole(plan)


ONE_SHOT = [*UNITS, ("user", "distributed")]


@pytest.mark.parametrize(("unit", "trust"), ONE_SHOT)
@pytest.mark.parametrize("metrics", [0.0, 0.3])
def test_without_rounds_the_histogram_has_what_metrics_leave(unit, trust, metrics):
    if metrics and (unit, trust) != ("user", "central"):
        return  # refused
    federation = {"rounds": 0, "popularity_cohort": 0.5}
    config = point(unit, trust, 2.0, federation=federation, metrics_share=metrics)
    plans = [plan for plan in (server_plan(config, USERS), device_plan(config, USERS)) if plan]
    for plan in plans:
        assert {at.kind for at in plan.releases} == {"histogram"} | (
            {"metrics"} if metrics else set()
        )
        assert (plan.updates, plan.noise_multiplier, plan.of("update")) == (0, 0.0, None)
        assert 1.99 < whole(plan) <= 2.0 * (1 + 1e-6)
        assert plan.stated()["releases"]["histogram"]["times"] == 1
    first = plans[0]
    if metrics:
        assert first.planned("metrics").times == 1  # of round 0
        before = server_plan(point(epsilon=2.0, federation=federation), USERS)
        assert before is not None
        apart = first.planned("histogram").mechanism.noise_multiplier
        assert apart > before.planned("histogram").mechanism.noise_multiplier


def test_without_rounds_a_plan_without_a_budget_has_an_exact_histogram():
    plan = server_plan(point(epsilon=math.inf, federation={"rounds": 0}), USERS)
    assert plan is not None
    assert [(at.kind, at.mechanism.noise_multiplier) for at in plan.releases] == [("histogram", 0)]


@pytest.mark.parametrize(
    ("settings_", "why"),
    [
        ({"federation": {"popularity_start": False}}, "needs federation.popularity_start = true"),
        ({"mechanism": "dp_ftrl"}, "privacy.mechanism = dp_ftrl, which is noise of rounds"),
        ({"adaptive_clipping": 0.5}, "privacy.adaptive_clipping = 0.5: no update is clipped"),
    ],
)
def test_without_rounds_what_needs_rounds_is_refused(settings_, why):
    federation = {"rounds": 0, **settings_.pop("federation", {})}
    with pytest.raises(ConfigError, match=why):
        point(federation=federation, **settings_)


# Where a real server sees what each device sent, and where sums of so many at least.
SEEN = {
    "auto": ({}, True),
    "on": ({"secure_aggregation": "on"}, True),
    "off": ({"secure_aggregation": "off"}, False),
    "a rule that is not linear": ({"aggregation": "flexlora"}, False),
}


@pytest.mark.parametrize("mechanism", ["gaussian", "dp_ftrl", "no noise"])
@pytest.mark.parametrize("case", SEEN)
def test_the_adversary_is_named_as_what_it_sees_of_real_devices(case, mechanism):
    federation, sums = SEEN[case]
    if mechanism == "dp_ftrl" and case == "a rule that is not linear":
        return
    privacy = {"epsilon": math.inf} if mechanism == "no noise" else {"mechanism": mechanism}
    federation = {"secure_aggregation": "auto", **federation}
    config = point(federation=federation, **privacy)
    told = server_plan(config, USERS).guarantee
    fewest = fewest_in_any(config, USERS)
    assert told.in_clear is not sums
    for words in (told.adversary, told.knowing_the_rounds().adversary):
        assert (f"exact sums over at least {fewest} of them" in words) is sums
        assert seen_of_each(words)[1:] == ((fewest, 0.1) if sums else (1, 0.0))
    assert 2 <= fewest <= 50


@pytest.mark.parametrize(
    "config",
    [point("example"), point("example", "local"), point("both"), point(trust="distributed")],
)
def test_elsewhere_the_adversary_is_named_alike_whatever_is_summed(config):
    tree = to_dict(config) | {}
    tree["federation"] = tree["federation"] | {"secure_aggregation": "auto"}
    auto = from_dict(tree)
    for plan in (server_plan, device_plan):
        one, other = plan(config, USERS), plan(auto, USERS)
        assert (one and one.guarantee) == (other and other.guarantee)
