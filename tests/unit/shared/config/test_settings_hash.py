"""One text for one value; one hash for the settings that a guarantee rests on."""

import dataclasses
import math

import pytest

from shared.canonical import canonical_json
from shared.config import EngineConfig, ExperimentConfig, SweepConfig, settings_hash


def test_canonical_json() -> None:
    assert canonical_json({"b": (1, 2.0), "a": {"é": math.inf}}) == (
        '{"a":{"\\u00e9":"inf"},"b":[1,2.0]}'
    )
    with pytest.raises(ValueError, match="JSON"):
        canonical_json([math.nan])


def test_the_engine_and_the_sweep_do_not_matter() -> None:
    config = ExperimentConfig()
    same = dataclasses.replace(
        config,
        engine=EngineConfig(engine="sequential", micro_batch=7),
        sweep=SweepConfig(epsilons=(3.0,)),
        private={"federation": {"rounds": 3}},  # already applied at the point
    )
    assert settings_hash(config) == settings_hash(same)


@pytest.mark.parametrize(
    ("section", "setting"),
    [
        ("privacy", {"clipping_norm": 0.5}),
        ("privacy", {"epsilon": 3.0}),
        ("federation", {"rounds": 21}),
        ("train", {"max_windows": 3}),
        ("model", {"layers": 1}),
        ("data", {"users": 12}),
    ],
)
def test_everything_else_does(section: str, setting: dict[str, object]) -> None:
    config = ExperimentConfig()
    changed = dataclasses.replace(getattr(config, section), **setting)
    assert settings_hash(dataclasses.replace(config, **{section: changed})) != settings_hash(config)


def test_the_seed_does() -> None:
    assert settings_hash(ExperimentConfig(seed=1)) != settings_hash(ExperimentConfig(seed=2))
