"""Which settings of the updates' noise contradict each other."""

from __future__ import annotations

import math

from shared.config.sections import FederationConfig, PrivacyConfig
from shared.errors import ConfigError

# They train other coordinates from round to round, or turn them: one round's noise would no longer
# cancel another's. All others sum the same ones in every round, fedsa too: what devices keep is not
# summed, and may shape its owner's later contributions, each of which is clipped.
_TURNING = ("alternating", "fedsvd", "flexlora")
_STEADY = "fedit, ffa, fedsb, fedsa or principal"


def check_mechanism(privacy: PrivacyConfig, federation: FederationConfig, source: str) -> None:
    """Correlated noise covers users who take part rarely enough, summed by a trusted server.

    Raises
    ------
    ConfigError
        Naming both settings and what to do.
    """
    separation = f"privacy.min_separation = {privacy.min_separation}"
    if privacy.mechanism == "gaussian":
        _check_participations(privacy, source)
        if privacy.min_separation > 1 or privacy.bands:
            raise ConfigError(
                f"{source}: {separation}, privacy.bands = {privacy.bands}: nothing enforces them "
                "under privacy.mechanism = gaussian; use --mechanism dp_ftrl, or leave them out"
            )
        return
    for name, value, only in (
        ("unit", privacy.unit, "user"),
        ("trust", privacy.trust, "central"),
    ):
        if value != only:
            raise ConfigError(
                f"{source}: privacy.mechanism = dp_ftrl does not go with privacy.{name} = {value}: "
                f"it is accounted for {name} {only} only; use that, or --mechanism gaussian"
            )
    if privacy.adaptive_clipping:
        raise ConfigError(
            f"{source}: privacy.mechanism = dp_ftrl does not go with privacy.adaptive_clipping = "
            f"{privacy.adaptive_clipping:g}: noise cancels between rounds of one clipping norm; "
            "use 0, or --mechanism gaussian"
        )
    if federation.aggregation in _TURNING:
        raise ConfigError(
            f"{source}: privacy.mechanism = dp_ftrl does not go with federation.aggregation = "
            f"{federation.aggregation}: its coordinates change from round to round, and correlated "
            f"noise would not cancel; use {_STEADY}, or --mechanism gaussian"
        )
    if privacy.bands > privacy.min_separation:
        raise ConfigError(
            f"{source}: privacy.bands = {privacy.bands} does not go with {separation}: noise may "
            "reach back no further than a user's last participation; use at most that, or 0"
        )
    private = math.isfinite(privacy.epsilon) and federation.cohort <= 1
    if private and federation.cohort * privacy.min_separation > 1 + 1e-9:
        raise ConfigError(
            f"{source}: federation.cohort = {federation.cohort:g} does not go with {separation}: "
            f"each round may ask at most every {privacy.min_separation}. user; use a share of at "
            f"most {1 / privacy.min_separation:.4g}, or a smaller separation"
        )


def _check_participations(privacy: PrivacyConfig, source: str) -> None:
    """Under independent noise only a device that adds it counts, and ends, its participations."""
    counts = privacy.unit == "both" or privacy.trust == "local"
    if privacy.max_participations is not None and not counts:
        raise ConfigError(
            f"{source}: privacy.max_participations = {privacy.max_participations} does not go with "
            f"privacy.mechanism = gaussian under privacy.unit = {privacy.unit}, privacy.trust = "
            f"{privacy.trust}: nothing enforces it; leave it out, or use --mechanism dp_ftrl or "
            "--unit both"
        )
