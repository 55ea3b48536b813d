"""What results state of the reference `same_model`."""

from __future__ import annotations

from shared.config import ExperimentConfig
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


def reference_of(point: Point, config: ExperimentConfig) -> Tree:
    """What results state of the reference that such a run is."""
    clip = update_clip(config)
    return {
        **{name: point.get(name) for name in _OF_THE_POINT},
        "references": {
            name: found for name, found in point.table("references").items() if name == "start"
        },
        "clipping_norm": None if clip is None else clip.norm,
        "metrics_status": NOT_RELEASED,
        "seconds": point.get("seconds"),
    }
