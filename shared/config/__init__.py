"""Settings: what they are (`sections`), what goes together (`rules`), how they are read (`load`).

Whoever needs a setting imports it from here; presets and the page of settings stand apart.
"""

from shared.config.load import (
    at_epsilon,
    dump_toml,
    from_dict,
    load_toml,
    settings_hash,
    to_dict,
)
from shared.config.sections import (
    DataConfig,
    EngineConfig,
    ExperimentConfig,
    Factors,
    FederationConfig,
    ModelConfig,
    Pooling,
    PrivacyConfig,
    ReferenceConfig,
    SweepConfig,
    TrainConfig,
    WorldConfig,
)

__all__ = [
    "DataConfig",
    "EngineConfig",
    "ExperimentConfig",
    "Factors",
    "FederationConfig",
    "ModelConfig",
    "Pooling",
    "PrivacyConfig",
    "ReferenceConfig",
    "SweepConfig",
    "TrainConfig",
    "WorldConfig",
    "at_epsilon",
    "dump_toml",
    "from_dict",
    "load_toml",
    "settings_hash",
    "to_dict",
]
