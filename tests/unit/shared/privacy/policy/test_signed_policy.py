"""A policy is one text, whole, of this version, and the operator's; anything else is refused."""

import dataclasses
import json
import math
from datetime import UTC, datetime

import pytest

from shared.canonical import canonical_json
from shared.config import at_epsilon, settings_hash
from shared.errors import ConfigError, PrivacyError
from shared.privacy.contribution.adaptive_clip import QuantileRule
from shared.privacy.guarantee import USER_CENTRAL, USER_SCHEDULED, in_sums
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.plan.plan import device_plan, server_plan
from shared.privacy.policy.issue import policy_of, promises
from shared.privacy.policy.order import weaknesses
from shared.privacy.policy.signed import load_policy, policy_text, read_policy, signed
from tests.support.federations import point_config
from tests.support.privacy.policies import OTHER, made, operator, sealed

USERS = 40


@pytest.fixture
def config(tmp_path):
    return point_config(tmp_path)


@pytest.fixture
def policy(config):
    return made(config, USERS, "s")


def test_what_is_signed_is_read_back(policy):
    assert read_policy(sealed(policy), operator()) == policy
    assert read_policy(sealed(policy) + "\n", None) == policy


def test_it_states_what_the_settings_give(policy, config):
    plan = server_plan(config, USERS)
    (promise,) = policy.promises
    told = promise.guarantee
    assert (told.unit, told.trust, told.budget) == ("user", "central", 2.0)
    assert told.delta == config.privacy.delta
    update, histogram = promise.of("update"), promise.of("histogram")
    assert update.noise_multiplier == plan.noise_multiplier
    assert (update.clipping_norm, update.times) == (0.5, 3)
    assert histogram.times == 1
    assert policy.settings == settings_hash(config)
    assert (policy.users, policy.rounds, policy.windows) == (USERS, 3, 3)


def test_no_cohort_amplifies_what_a_device_pays(policy, config):
    """The server knows who took part; which examples were drawn it does not."""
    assert server_plan(config, USERS).sampling_probability < 1
    assert policy.promises[0].of("update").event["kind"] == "gaussian"
    privacy = {"unit": "both", "example_sampling": 0.5}
    user, example = promises(point_config("b", privacy=privacy), USERS)
    assert user.of("update").event["kind"] == "gaussian"
    plan = device_plan(point_config("b", privacy=privacy), USERS)
    assert example.of("update").cost == plan.planned("update").event
    assert (example.guarantee.unit, example.guarantee.trust) == ("example", "local")


def test_infinity_travels(config):
    free = made(at_epsilon(config, math.inf, 5), USERS, "s")
    assert read_policy(sealed(free), operator()).promises[0].guarantee.budget == math.inf


def edited(text, **changes):
    tree = json.loads(text)
    tree["policy"].update(changes)
    return canonical_json(tree)


def test_one_changed_number_is_not_signed(policy):
    with pytest.raises(PrivacyError, match="not signed by the operator's key"):
        read_policy(edited(sealed(policy), rounds=4), operator())


def test_another_operators_policy_is_refused(policy):
    other = signed(dataclasses.replace(policy, issuer=public_hex(OTHER)), OTHER)
    assert read_policy(other, None).issuer == public_hex(OTHER)
    with pytest.raises(PrivacyError, match=operator()[:16]):
        read_policy(other, operator())


def test_a_signature_in_the_name_of_another_is_refused(policy):
    with pytest.raises(ConfigError, match="issuer"):
        signed(policy, OTHER)
    forged = json.loads(sealed(policy))
    content = forged["policy"]
    message = f"starling policy 2\n{canonical_json(content)}".encode()
    forged["signature"] = OTHER.sign(message).hex()
    with pytest.raises(PrivacyError):
        read_policy(canonical_json(forged), operator())
    content["issuer"] = public_hex(OTHER)  # and the operator's own hand under another's name
    message = f"starling policy 2\n{canonical_json(content)}".encode()
    forged["signature"] = load_or_create_signing_key().sign(message).hex()
    with pytest.raises(PrivacyError):
        read_policy(canonical_json(forged), operator())


def without(text, name):
    tree = json.loads(text)
    del tree["policy"][name]
    return canonical_json(tree)


MALFORMED = {
    "nothing": (lambda text: "", "not the JSON"),
    "no JSON": (lambda text: "{", "not the JSON"),
    "a list": (lambda text: "[1]", "not the JSON"),
    "deep": (lambda text: "[" * 100_000, "not the JSON"),
    "too long": (lambda text: "1" * 2_000_000, "characters"),
    "another version": (lambda text: edited(text, format="starling policy 1"), "format"),
    "an unknown field": (lambda text: edited(text, extra=1), "extra"),
    "a field less": (lambda text: without(text, "rounds"), "rounds"),
    "a number as text": (lambda text: edited(text, rounds="3"), "rounds"),
    "no promise": (lambda text: edited(text, promises=[]), "promises"),
    "no time": (lambda text: edited(text, valid_until="soon"), "valid_until"),
    "no zone": (lambda text: edited(text, valid_until="2026-11-22T00:00:00"), "valid_until"),
    "no key": (lambda text: edited(text, issuer="abc"), "issuer"),
    "re-formatted": (lambda text: json.dumps(json.loads(text), indent=1), "canonical"),
    "a key twice": (lambda text: text.replace('"rounds":3', '"rounds":2,"rounds":3'), "canonical"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_policy_is_one_line(case, policy):
    change, message = MALFORMED[case]
    text = change(sealed(policy))
    assert text != sealed(policy)
    with pytest.raises(ConfigError, match=message) as caught:
        read_policy(text, operator())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("days", [0, -1, 4000, math.nan])
def test_it_ends_and_not_in_ten_years(days, config):
    with pytest.raises(ConfigError, match="days"):
        policy_of(config, USERS, "s", operator(), datetime.now(UTC), days)


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
        load_policy(tmp_path / "none.json", None)
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="no text"):
        policy_text(tmp_path / "bytes.json")


def test_a_clip_that_adapts_is_promised_from_where_it_starts():
    """In the mechanism's own units the clip is 1 whatever bounds a message: of no use to anyone."""

    def starting_at(norm):
        privacy = {"adaptive_clipping": 0.5, "clipping_norm": norm}
        return made(point_config("b", privacy=privacy), 40, "s")

    small, large = starting_at(0.5), starting_at(500.0)
    assert [one.promises[0].of("update").clipping_norm for one in (small, large)] == [0.5, 500.0]
    assert weaknesses(large, small) == ["clipping norm of update = 500: agreed was at most 0.5"]
    assert weaknesses(small, large) == []
    rule = QuantileRule(0.5, 0.2, 0.5)
    assert rule.check(500.0) == rule.next(500.0, -1e9, 1.0) == 500.0  # the factor that is told


SEES_EACH = USER_CENTRAL
# Offered, agreed -> whether it may follow: sums of as many, with as many in league, or, before,
# each one's own.
ORDERS = [
    (in_sums(SEES_EACH, 12, 0.1), in_sums(SEES_EACH, 12, 0.1), True),
    (in_sums(SEES_EACH, 13, 0.1), in_sums(SEES_EACH, 12, 0.1), True),
    (in_sums(SEES_EACH, 12, 0.2), in_sums(SEES_EACH, 12, 0.1), True),
    (in_sums(SEES_EACH, 12, 0.0), SEES_EACH, True),
    (in_sums(SEES_EACH, 11, 0.1), in_sums(SEES_EACH, 12, 0.1), False),
    (in_sums(SEES_EACH, 12, 0.05), in_sums(SEES_EACH, 12, 0.1), False),
    (SEES_EACH, in_sums(SEES_EACH, 2, 0.0), False),
    (in_sums(USER_SCHEDULED, 12, 0.1), in_sums(SEES_EACH, 12, 0.1), False),
    (in_sums(SEES_EACH, 12, 0.1) + " and more", in_sums(SEES_EACH, 12, 0.1), False),
]


@pytest.mark.parametrize(("offered", "agreed", "follows"), ORDERS)
def test_who_sees_sums_may_follow_who_sees_each(offered, agreed, follows, policy):
    def told(adversary):
        (promise,) = policy.promises
        guarantee = dataclasses.replace(promise.guarantee, adversary=adversary)
        return dataclasses.replace(
            policy, promises=(dataclasses.replace(promise, guarantee=guarantee),)
        )

    found = weaknesses(told(offered), told(agreed))
    assert (not found) is follows, found
    if not follows:
        assert "adversary" in found[0]
