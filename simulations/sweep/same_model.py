"""The reference `same_model`: the noised points' model and rounds, without noise."""

from __future__ import annotations

import dataclasses
import math

from shared.config import ExperimentConfig, at_epsilon
from shared.metrics import NOT_RELEASED
from shared.privacy.contribution.units import update_clip
from simulations.results import Point, Tree

_OF_THE_POINT = (
    "metrics",
    "validation",
    "ranks",
    "seed",
    "rounds",
    "cohort",
    "trained_parameters",
    "environments",
)


def same_model(config: ExperimentConfig) -> ExperimentConfig:
    """The settings of a sweep's noised points, of its first seed, with noise off.

    Updates of users are clipped as under noise, at `privacy.clipping_norm` where that would adapt;
    gradients of single examples, and sums of products (flexlora), are not. The histogram is exact.
    """
    noised = next(epsilon for epsilon in config.sweep.epsilons if math.isfinite(epsilon))
    point = at_epsilon(config, noised, config.sweep.seeds[0])
    privacy = dataclasses.replace(point.privacy, epsilon=math.inf, clip_without_noise=True)
    return dataclasses.replace(point, privacy=privacy)


def reference_of(point: Point, config: ExperimentConfig) -> Tree:
    """What results state of the reference that such a run is."""
    clip = update_clip(config)
    return {
        **{name: point.get(name) for name in _OF_THE_POINT},
        "references": {"start": point.table("references")["start"]},
        "clipping_norm": None if clip is None else clip.norm,
        "metrics_status": NOT_RELEASED,
        "seconds": point.get("seconds"),
    }
