"""What one person adds to a sum, bounded: updates by their clip, metrics by what they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from shared.config import ExperimentConfig
from shared.config.rules import sums_uploads
from shared.errors import ProtocolError
from shared.privacy.contribution.adaptive_clip import clip_and_bits
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.contribution.evaluation import METRICS_SCHEMA, metric_contributions
from shared.privacy.contribution.units import quantile_rule, releases_metrics
from shared.update import Update


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
    asked = np.isfinite(privacy.epsilon) or bool(privacy.clip_without_noise)
    clips = asked and privacy.unit != "example" and sums_uploads(config)
    return L2Clip(privacy.clipping_norm) if clips else None


def bounded(
    deltas: torch.Tensor, config: ExperimentConfig, adapted: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clipped deltas [..., dim], and their bits [...]: 0 where the clip does not adapt."""
    clip = update_clip(config, adapted)
    if clip is None:
        return deltas, deltas.new_zeros(deltas.shape[:-1])
    if quantile_rule(config) is None:
        return clip(deltas), deltas.new_zeros(deltas.shape[:-1])
    return clip_and_bits(clip, deltas)


def metrics_update(ranks: Sequence[int], people: int, config: ExperimentConfig) -> Update:
    """The sum of what so many people contribute to private metrics.

    Parameters
    ----------
    ranks : sequence of int
        Of the held-out items of those among them who have one.
    people : int
    config : ExperimentConfig

    Raises
    ------
    ProtocolError
        Where the settings promise no noise for it.
    """
    if not releases_metrics(config):
        raise ProtocolError("no metrics were agreed on: nothing would noise them")
    rows = metric_contributions(ranks)  # [those with a held-out item, 3]
    largest = float(np.linalg.norm(rows.astype(np.float64), axis=1).max(initial=0.0))
    return Update(rows.sum(axis=0), float(people), largest, METRICS_SCHEMA)
