"""Events to JSON and back, and what is refused on both ways."""

import json
from typing import Any

import pytest
from dp_accounting import (
    ComposedDpEvent,
    DpEvent,
    GaussianDpEvent,
    LaplaceDpEvent,
    NonPrivateDpEvent,
    NoOpDpEvent,
    PoissonSampledDpEvent,
    SelfComposedDpEvent,
    UnsupportedDpEvent,
)

from shared.errors import ConfigError
from shared.privacy.accounting.events import SkellamDpEvent, event_from_json, event_to_json

SAMPLED = PoissonSampledDpEvent(0.1, GaussianDpEvent(1.1))


@pytest.mark.parametrize(
    "event",
    [
        GaussianDpEvent(0.1 + 0.2),
        SAMPLED,
        NonPrivateDpEvent(),
        NoOpDpEvent(),
        SelfComposedDpEvent(SAMPLED, 7),
        SkellamDpEvent(0.1 + 0.2, 3.0, 4.0),
        ComposedDpEvent([SAMPLED, ComposedDpEvent([NonPrivateDpEvent()])]),
    ],
)
def test_there_and_back(event: DpEvent) -> None:
    assert event_from_json(json.loads(json.dumps(event_to_json(event)))) == event


@pytest.mark.parametrize(
    "event",
    [
        LaplaceDpEvent(1.0),
        UnsupportedDpEvent(),
        PoissonSampledDpEvent(0.1, LaplaceDpEvent(1.0)),
        "gaussian",
    ],
)
def test_refuses_to_write_unknown_kinds(event: DpEvent) -> None:
    with pytest.raises(ConfigError, match="does not record"):
        event_to_json(event)


@pytest.mark.parametrize(
    "tree",
    [
        None,
        [],
        {},
        {"kind": "laplace", "noise_multiplier": 1.0},
        {"kind": []},
        {"kind": "gaussian"},
        {"kind": "gaussian", "noise_multiplier": "1.0"},
        {"kind": "gaussian", "noise_multiplier": True},
        {"kind": "gaussian", "noise_multiplier": 1.0, "sampling_probability": 0.1},
        {"kind": "self_composed", "count": 2.0, "event": {"kind": "no_op"}},
        {"kind": "composed", "events": {}},
        {"kind": "skellam", "variance": 1.0, "l2_sensitivity": 1.0},
        {"kind": "skellam", "variance": 1, "l2_sensitivity": 1.0, "l1_sensitivity": 1.0},
        {"kind": "composed", "events": [{"kind": "?"}]},
    ],
)
def test_refuses_to_read_anything_else(tree: Any) -> None:
    with pytest.raises(ConfigError, match="event"):
        event_from_json(tree)
