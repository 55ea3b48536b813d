"""Which settings of adaptive clipping and private metrics go together; what is not accounted, not.

Called when settings are read, so that a combination is refused before anything runs.
"""

from __future__ import annotations

from shared.config.sections import ExperimentConfig
from shared.errors import ConfigError


def check_statistics(config: ExperimentConfig, source: str) -> None:
    """Refuse what no accounting here covers, naming both settings.

    Raises
    ------
    ConfigError
        For adaptive clipping or private metrics under another unit than a person or another trust
        than in the server, or for a setting that would be without effect.
    """
    privacy, federation = config.privacy, config.federation
    wanted = {
        f"privacy.adaptive_clipping = {privacy.adaptive_clipping:g}": privacy.adaptive_clipping,
        f"privacy.metrics_share = {privacy.metrics_share:g}": privacy.metrics_share,
    }
    for name in (name for name, value in wanted.items() if value):
        _only_of_people(name, privacy.unit, privacy.trust, source)
    if privacy.metrics_share + privacy.histogram_share >= 1:
        raise ConfigError(
            f"{source}: privacy.metrics_share = {privacy.metrics_share:g} and "
            f"privacy.histogram_share = {privacy.histogram_share:g} leave nothing for the rounds; "
            "together they must be below 1"
        )
    if federation.metrics_every and not privacy.metrics_share:
        raise ConfigError(
            f"{source}: federation.metrics_every = {federation.metrics_every} needs "
            "privacy.metrics_share > 0, the budget of the metrics; give both or neither"
        )
    if federation.select == "private_metric" and not federation.metrics_every:
        raise ConfigError(
            f"{source}: federation.select = private_metric needs federation.metrics_every >= 1: "
            "without metrics on the way there is nothing to select from"
        )


def _only_of_people(name: str, unit: str, trust: str, source: str) -> None:
    if unit != "user":
        raise ConfigError(
            f"{source}: {name} does not go with privacy.unit = {unit}: one bit and one metric are "
            "a person's, not an example's; use --unit user, or 0"
        )
    if trust != "central":
        raise ConfigError(
            f"{source}: {name} does not go with privacy.trust = {trust}: the server adds this "
            "noise; use --trust central, or 0"
        )
