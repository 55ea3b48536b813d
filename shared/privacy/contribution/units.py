"""What the settings' unit means for one contribution: which clip, and how long it may be.

Needs no accountant: what trains imports this, what plans and records imports `plan`.
"""

from __future__ import annotations

import math

from shared.config import ExperimentConfig
from shared.config.rules import sums_uploads
from shared.privacy.contribution.adaptive_clip import QuantileRule
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.contribution.histogram import HISTOGRAM_CLIP
from shared.privacy.contribution.moments import MOMENTS_CLIP, moments_size


def by_example(config: ExperimentConfig) -> bool:
    """Whether a client clips per example: at a finite epsilon, under any unit but `user`."""
    return math.isfinite(config.privacy.epsilon) and config.privacy.unit != "user"


def devices_add_noise(config: ExperimentConfig) -> bool:
    """Whether every device noises its own message, and may decline when its budget is spent."""
    privacy = config.privacy
    return by_example(config) and (privacy.unit, privacy.trust) != ("example", "central")


def devices_share_noise(config: ExperimentConfig) -> bool:
    """Whether the noise of a sum comes in shares, one from every device in it."""
    return math.isfinite(config.privacy.epsilon) and config.privacy.trust == "distributed"


def sums_securely(config: ExperimentConfig, *, simulated: bool) -> bool:
    """Whether answers reach the server in sums alone, by secure aggregation.

    On real devices unless that is turned off, wherever what is summed is what is sent, and sent
    without noise of its own. In a simulation, whose one process sees everything, only where it is
    asked for.
    """
    wanted = config.federation.secure_aggregation
    if wanted != "auto":
        return wanted == "on"
    return not simulated and sums_uploads(config) and not by_example(config)


def sums_in_ring(config: ExperimentConfig, *, simulated: bool) -> bool:
    """Whether answers are whole numbers that are of use in a sum only: noised there, or masked."""
    return devices_share_noise(config) or sums_securely(config, simulated=simulated)


def histogram_in_clear(config: ExperimentConfig) -> bool:
    """Whether a real device's histogram would name its person's items to the server.

    One vector of few items does, whatever the noise on the sum: it goes into a secure sum, or has
    noise of the device.
    """
    return not devices_add_noise(config) and not sums_securely(config, simulated=False)


def examples_per_user(config: ExperimentConfig) -> int:
    """The contribution bound in examples: how many windows of one user may count."""
    return config.train.max_windows


def expected_batch(config: ExperimentConfig) -> float:
    """Expected examples in a local step of a user at the contribution bound: public, fixed."""
    return config.privacy.example_sampling * examples_per_user(config)


def example_clip(config: ExperimentConfig) -> L2Clip:
    """The clip of what one example adds to an adapter: lr C / expected batch.

    Clipping the scaled gradient at the scaled norm is clipping the gradient at C, and leaves no
    rounding between the clip and the sum.
    """
    privacy = config.privacy
    rate = config.train.local_lr / expected_batch(config)
    return L2Clip(privacy.example_clipping_norm * rate)


def quantile_rule(config: ExperimentConfig) -> QuantileRule | None:
    """How the clip of a user's update adapts; None where it is fixed, or nothing is clipped."""
    privacy = config.privacy
    if not (math.isfinite(privacy.epsilon) and privacy.adaptive_clipping):
        return None
    return QuantileRule(privacy.adaptive_clipping, privacy.clipping_rate, privacy.clipping_norm)


def update_clip(config: ExperimentConfig, adapted: float = 0.0) -> L2Clip | None:
    """The clip of a whole user's update; None where none is promised to a user.

    Also where the rule sums something else than what is uploaded: the server clips that.

    Parameters
    ----------
    config : ExperimentConfig
    adapted : float
        The round's norm, as the request says it: counts only where the settings let it adapt.

    Raises
    ------
    ProtocolError
        If it adapts, and this norm is out of range.
    """
    if rule := quantile_rule(config):
        return L2Clip(rule.check(adapted))
    privacy = config.privacy
    asked = math.isfinite(privacy.epsilon) or bool(privacy.clip_without_noise)
    clips = asked and privacy.unit != "example" and sums_uploads(config)
    return L2Clip(privacy.clipping_norm) if clips else None


def releases_metrics(config: ExperimentConfig) -> bool:
    """Whether devices give metrics: only to be noised, so at a finite epsilon only."""
    return math.isfinite(config.privacy.epsilon) and config.privacy.metrics_share > 0


def metrics_times(config: ExperimentConfig) -> int:
    """How often metrics are released: of the final adapter, and of iterates before the last."""
    every, rounds = config.federation.metrics_every, config.federation.fixed_rounds
    if not releases_metrics(config):
        return 0
    return 1 + (max(rounds - 1, 0) // every if every else 0)


def update_limit(config: ExperimentConfig, adapted: float = 0.0) -> float | None:
    """The largest L2 norm that one user's update may arrive with; None if it is not bounded.

    `adapted` is the round's clipping norm where it adapts.
    """
    privacy = config.privacy
    if not math.isfinite(privacy.epsilon) or privacy.trust != "central":
        return None
    if adapted:
        return adapted
    if privacy.unit == "example":
        return examples_per_user(config) * example_clip(config).norm
    return privacy.clipping_norm


def histogram_limit(config: ExperimentConfig) -> float | None:
    """The same of one user's popularity histogram."""
    privacy = config.privacy
    private = math.isfinite(privacy.epsilon)
    if private and privacy.trust != "central":
        return None
    by_window = private and privacy.unit == "example"
    return HISTOGRAM_CLIP.norm * (examples_per_user(config) if by_window else 1)


def moments_limit(config: ExperimentConfig) -> float | None:
    """The same of one user's contribution to moments, which whole users alone give."""
    private = math.isfinite(config.privacy.epsilon)
    return None if private and config.privacy.trust != "central" else MOMENTS_CLIP.norm


def moments_dim(config: ExperimentConfig, items: int) -> tuple[int, int, int]:
    """M, R and K of the coordinates that moments are asked for in: each pair without noise."""
    return moments_size(items, exact=math.isinf(config.privacy.epsilon))
