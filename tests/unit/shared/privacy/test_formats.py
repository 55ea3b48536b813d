"""Texts as earlier versions wrote them: read, and written again byte for byte."""

import hashlib
import json
import math

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.canonical import canonical_json
from shared.config import from_dict
from shared.errors import ConfigError, LedgerError
from shared.privacy.guarantee import USER_CENTRAL, Guarantee
from shared.privacy.ledger.chain import Chain
from shared.privacy.plan.plan import server_plan
from shared.privacy.policy.signed import read_policy, signed

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ALONE = (
    r'{"content":{"adversary":"sees \"\u00e9\"","budget":"inf","created":"2026-11-22T13:00:00'
    r'+00:00","delta":0.0001,"format":"starling ledger 2","group":1,"identity":"0f0f0f0f0f0f0'
    r'f0f0f0f0f0f0f0f0f0f","policy":"abababababababababababababababababababababababababababab'
    r'abababab","relation":"zero_out","trust":"central","unit":"user"},"hash":"a0a4bac1bf8210'
    r'761e88be841422a4cc849323e2ebb5a05213315c3cffcd054c"}'
    "\n"
)
OF_THREE = (
    r'{"content":{"adversary":"sees \"\u00e9\"","budget":2.0,"created":"2026-11-22T13:00:00+'
    r'00:00","delta":0.0001,"format":"starling ledger 2","group":3,"identity":"0f0f0f0f0f0f0'
    r'f0f0f0f0f0f0f0f0f0f","policy":"abababababababababababababababababababababababababababa'
    r'babababab","relation":"zero_out","trust":"central","unit":"user"},"hash":"103a70491072'
    r'2a782bbd912512f25dcaea9c21923352ae883e22d291cb5c5ad1"}'
    "\n"
)
POLICY = (
    r'{"policy":{"aggregation":"fedit","format":"starling policy 2","issuer":"03a107bff3ce10'
    r'be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8","promises":[{"adversary":"sees all'
    r'","delta":0.0001,"epsilon":"inf","group":1,"relation":"zero_out","releases":[{"clippin'
    r'g_norm":0.5,"event":{"kind":"gaussian","noise_multiplier":1.5},"kind":"update","mechan'
    r'ism":"gaussian","noise_multiplier":1.5,"separation":0,"times":3},{"clipping_norm":0.5,'
    r'"event":{"kind":"gaussian","noise_multiplier":5.0},"kind":"histogram","mechanism":"gau'
    r'ssian","noise_multiplier":5.0,"separation":0,"times":3}],"trust":"central","unit":"use'
    r'r"},{"adversary":"sees a device","delta":1e-05,"epsilon":4.0,"group":2,"relation":"zer'
    r'o_out","releases":[{"clipping_norm":0.5,"event":{"kind":"gaussian","noise_multiplier":'
    r'2.0},"kind":"update","mechanism":"gaussian","noise_multiplier":2.0,"separation":0,"tim'
    r'es":3}],"trust":"local","unit":"example"}],"rounds":3,"schema":"s","settings":"cdcdcdc'
    r'dcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd","users":40,"valid_from":"20'
    r'26-11-22T13:00:00+00:00","valid_until":"2026-12-22T13:00:00+00:00","window_length":8,"'
    r'windows":3},"signature":"4d40a075ff0b29b27cabf04f8abef4e02c96aeeb1013f69e4629f88f76272'
    r'c609252a49531027e11e20c3e3bac7f52875b50d29613c73cdf07ac896392983909"}'
)
SEES = 'sees "é"'
LEDGERS = {
    "alone": (ALONE, Guarantee("user", "zero_out", "central", SEES, 1e-4, 1, math.inf)),
    "of three": (OF_THREE, Guarantee("user", "zero_out", "central", SEES, 1e-4, 3, 2.0)),
}


@pytest.mark.parametrize(("line", "guarantee"), LEDGERS.values(), ids=list(LEDGERS))
def test_a_ledgers_header(line, guarantee):
    chain = Chain("ledger")
    chain.add(line.encode())
    assert chain.header.promise == (guarantee, "ab" * 32)
    assert Chain("other").header_line(chain.header) == line.encode()


def test_a_policy():
    policy = read_policy(POLICY, None)
    user, example = (promise.guarantee for promise in policy.promises)
    assert user == Guarantee("user", "zero_out", "central", "sees all", 1e-4, 1, math.inf)
    assert example == Guarantee("example", "zero_out", "local", "sees a device", 1e-5, 2, 4.0)
    assert [len(promise.releases) for promise in policy.promises] == [2, 1]
    assert signed(policy, KEY) == POLICY


@pytest.mark.parametrize("kept", [True, False])
def test_a_policy_has_no_other_words(kept):
    tree = json.loads(POLICY)
    promise = tree["policy"]["promises"][1]
    promise["budget"] = promise["epsilon"] if kept else promise.pop("epsilon")
    with pytest.raises(ConfigError, match="canonical"):
        read_policy(canonical_json(tree), None)


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        ("unit", "household", "unit = 'household'"),
        ("trust", "nobody", "trust = 'nobody'"),
        ("relation", "near", "relation = 'near'"),
        ("adversary", "", "adversary"),
        ("adversary", "a" * 2001, "adversary"),
        ("delta", 1.0, "delta = 1.0"),
        ("delta", "1", "delta = '1'"),
        ("epsilon", 0.0, "epsilon = 0.0: expected a budget > 0"),
        ("epsilon", "x", "epsilon = 'x'"),
        ("group", 0, "group = 0"),
        ("group", 1.5, "group = '1.5'"),
        ("guarantee", {}, "Unexpected"),
        ("more", 1, "more = '1'"),
    ],
)
def test_a_promise_out_of_range_is_refused_in_a_line(word, value, said):
    tree = json.loads(POLICY)
    tree["policy"]["promises"][1][word] = value
    with pytest.raises(ConfigError, match=said) as caught:
        read_policy(canonical_json(tree), None)
    assert "\n" not in str(caught.value)


def test_a_point_of_the_results():
    """Names and order; the point's other figures follow."""
    federation = {"cohort": 10.0, "secure_aggregation": "off"}
    tree = {"privacy": {"epsilon": math.inf, "group_size": 3}, "federation": federation}
    plan = server_plan(from_dict(tree), 40)
    assert plan is not None
    assert json.dumps(plan.guarantee.stated()) == (
        '{"epsilon_target": Infinity, "delta": 0.001, "unit": "user", "relation": "zero_out", '
        f'"group_size": 3, "trust": "central", "adversary": "{USER_CENTRAL}"}}'
    )


@pytest.mark.parametrize(("word", "value"), [("unit", "\\u001b[2Juser"), ("trust", "nobody")])
def test_a_ledger_of_an_unknown_unit_or_trust_is_none(word, value):
    """They are printed: a header may come from anyone."""
    known = {"unit": "user", "trust": "central"}[word]
    line = OF_THREE.replace(f'"{word}":"{known}"', f'"{word}":"{value}"').rsplit(',"hash"')[0]
    content = line.removeprefix('{"content":')
    digest = hashlib.sha256(("0" * 64 + content).encode()).hexdigest()
    with pytest.raises(LedgerError, match=f"{word} = .*: expected one of"):
        Chain("ledger").add(f'{line},"hash":"{digest}"}}\n'.encode())
