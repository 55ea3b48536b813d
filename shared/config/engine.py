"""Which settings of the engines go together."""

from __future__ import annotations

import re

from shared.config.sections import EngineConfig
from shared.errors import ConfigError


def check_workers(engine: EngineConfig, source: str) -> None:
    """Refuse workers and addresses that the chosen engine has no use for.

    Raises
    ------
    ConfigError
        Naming both settings.
    """
    name = f"engine.engine = {engine.engine}"
    if engine.workers > 1 and engine.engine == "sequential":
        raise ConfigError(
            f"{source}: engine.workers = {engine.workers} does not go with {name}, which is one "
            "process; use --engine cohort"
        )
    if not engine.address:
        return
    if engine.engine != "cohort":
        raise ConfigError(
            f"{source}: engine.address = {engine.address} does not go with {name}; "
            "use --engine cohort"
        )
    if engine.address != "auto" and not re.fullmatch(r"[^/\s]+:\d{1,5}", engine.address):
        raise ConfigError(
            f"{source}: engine.address = {engine.address}: expected auto, or host:port of the "
            "cluster's head, such as 10.0.0.1:6379"
        )
