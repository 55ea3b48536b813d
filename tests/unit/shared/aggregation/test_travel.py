"""What goes down to a device, and that a device with other fixed tensors does not train."""

import numpy as np
import pytest

from shared.aggregation import RULES
from shared.aggregation.travel import SKETCH, sent, whole
from shared.config.rules import factors_of
from shared.errors import ProtocolError
from shared.model.adapter import current
from simulations.world.world import World
from tests.support.federations import held
from tests.support.tiny import make_engine, random_adapter

FIXING = ("ffa", "fedsb", "principal")


@pytest.fixture(scope="module")
def engines(tiny_bert):
    return {
        factors: make_engine(World(users=3, items=40), tiny_bert, factors=factors)
        for factors in ("drawn", "principal", "core")
    }


@pytest.fixture
def ends(engines):
    """Of a rule: schema, the device's own adapter, and the server's arrays after some rounds."""

    def ends(name):
        engine = engines[factors_of(name)]
        schema, own = engine.schema, current(engine.recommender, engine.schema)
        arrays = schema.split(random_adapter(schema, seed=3).numpy())
        mine = schema.split(own.numpy())
        return schema, own, arrays | {n: mine[n] for n in held(RULES[name], schema.names)}

    return ends


@pytest.mark.parametrize("name", RULES)
def test_a_device_has_the_servers_adapter(name, ends):
    schema, own, arrays = ends(name)
    down = sent(RULES[name], arrays)
    found = whole(RULES[name], schema, down, own)
    np.testing.assert_array_equal(found.numpy(), schema.join(arrays).astype(np.float32))
    assert (SKETCH in down) == (name in FIXING)
    assert not set(down) & set(held(RULES[name], schema.names))


@pytest.mark.parametrize("name", FIXING)
def test_rounding_is_forgiven_and_another_tensor_is_not(name, ends):
    schema, own, arrays = ends(name)
    (first, *_) = RULES[name].fixed(schema.names)
    whole(RULES[name], schema, sent(RULES[name], arrays), own * (1 + 1e-6))
    other = arrays | {first: arrays[first][::-1].copy()}  # of the same length: its rows swapped
    with pytest.raises(ProtocolError, match=r"never sent.*not the server's") as caught:
        whole(RULES[name], schema, sent(RULES[name], other), own)
    assert first in str(caught.value)


@pytest.mark.parametrize("name", FIXING)
@pytest.mark.parametrize("wrong", ["nothing", "short", "nan", "too much", "a tensor less"])
def test_what_does_not_add_up_is_refused(name, wrong, ends):
    schema, own, arrays = ends(name)
    down = sent(RULES[name], arrays)
    match wrong:
        case "nothing":
            del down[SKETCH]
        case "short":
            down[SKETCH] = down[SKETCH][:1]
        case "nan":
            down[SKETCH] = down[SKETCH] * np.nan
        case "too much":
            down[RULES[name].fixed(schema.names)[0]] = np.zeros(1, dtype=np.float32)
        case _:
            del down["item_bias.weight"]
    with pytest.raises(ProtocolError, match="adapter"):
        whole(RULES[name], schema, down, own)
