"""What the aggregation rule asks of the other settings."""

from __future__ import annotations

from typing import Any

from shared.config.engine import check_workers
from shared.config.mechanism import check_mechanism
from shared.config.sections import ExperimentConfig, PrivacyConfig, TrainConfig
from shared.config.statistics import check_statistics
from shared.errors import ConfigError

_OF_FACTORS = (
    "ffa",
    "alternating",
    "fedsvd",
    "fedsb",
    "fedsa",
    "flexlora",
    "principal",
)  # they treat A and B differently

# How a model's factors begin under the rules that choose it.
_FACTORS = {"fedsb": "core", "principal": "principal"}


def sums_uploads(config: ExperimentConfig) -> bool:
    """Whether what clients upload is summed as it is; else the server clips what it makes of it."""
    return config.federation.aggregation != "flexlora"


def factors_of(rule: str) -> str:
    """`model.factors` under an aggregation rule."""
    return _FACTORS.get(rule, "drawn")


def shape_model(tree: dict[str, Any]) -> dict[str, Any]:
    """Nested settings in which the model has the shape that the rule trains, unless it says so."""
    model, federation = tree.get("model", {}), tree.get("federation", {})
    if not isinstance(model, dict) or not isinstance(federation, dict):
        return tree  # refused elsewhere, with its name
    factors = factors_of(str(federation.get("aggregation")))
    return {**tree, "model": {"factors": factors, **model}}


def check_rule(config: ExperimentConfig, source: str) -> None:
    """Refuse a rule for a model that has nothing for it to do.

    Raises
    ------
    ConfigError
        Naming both settings.
    """
    name = f"federation.aggregation = {config.federation.aggregation}"
    if config.model.factors != factors_of(config.federation.aggregation):
        raise ConfigError(
            f"{source}: model.factors = {config.model.factors} does not go with {name}; leave "
            "model.factors out, the rule sets it"
        )
    corrected = config.federation.aggregation == "principal" and config.model.item_rank > 0
    if (
        config.federation.aggregation in _OF_FACTORS
        and config.model.lora_rank == 0
        and not corrected
    ):
        raise ConfigError(
            f"{source}: {name} does not go with model.lora_rank = 0: there are no factors; "
            "use --aggregation fedit, or give a rank"
        )
    refused = f"{source}: {name} does not go with"
    if config.federation.aggregation == "fedsa":
        _check_personal(config, refused)
    _check_ranks(config, source, refused)


def _check_personal(config: ExperimentConfig, refused: str) -> None:
    if config.privacy.unit != "user":
        raise ConfigError(
            f"{refused} privacy.unit = {config.privacy.unit}: an example trains the device's own B "
            "without noise, and B shapes what all its other examples send; use --unit user"
        )
    if config.engine.address:
        raise ConfigError(
            f"{refused} engine.address = {config.engine.address}: people's own tensors lie in one "
            "database file, which machines cannot share; use --workers on one machine"
        )
    if config.federation.select == "private_metric":
        raise ConfigError(
            f"{refused} federation.select = private_metric: devices keep the B of their last round "
            "and none that goes with an earlier iterate; use select = last"
        )


def _check_ranks(config: ExperimentConfig, source: str, refused: str) -> None:
    ranks = f"federation.ranks = {list(config.federation.ranks)}"
    if config.federation.aggregation != "flexlora":
        if config.federation.ranks:
            raise ConfigError(
                f"{refused} {ranks}: its factors add up for one rank alone; "
                "use --aggregation flexlora"
            )
        return
    if max(config.federation.ranks, default=0) > config.model.lora_rank:
        raise ConfigError(
            f"{source}: {ranks}: expected at most model.lora_rank = {config.model.lora_rank}, the "
            "rank of the global factors"
        )
    privacy = config.privacy
    if privacy.adaptive_clipping:
        raise ConfigError(
            f"{refused} privacy.adaptive_clipping = {privacy.adaptive_clipping:g}: devices report "
            "norms of factors, and products are clipped; use 0"
        )
    if privacy.trust != "central":
        raise ConfigError(
            f"{refused} privacy.trust = {privacy.trust}: what is summed are products, which the "
            "server forms of factors in the clear; use --trust central"
        )
    if privacy.unit != "user":
        raise ConfigError(
            f"{refused} privacy.unit = {privacy.unit}: clipped gradients of examples bound factors,"
            " not the products that are summed; use --unit user"
        )


def check_together(config: ExperimentConfig, source: str) -> None:
    """Refuse settings that contradict each other.

    Raises
    ------
    ConfigError
        Naming `source`, both settings and what to do.
    """
    if config.federation.popularity_start and not config.model.item_bias:
        raise ConfigError(
            f"{source}: federation.popularity_start = true needs model.item_bias = true; "
            "change one of them"
        )
    check_rule(config, source)
    _check_unit(config.privacy, config.train, source)
    check_mechanism(config.privacy, config.federation, source)
    check_workers(config.engine, source)
    check_statistics(config, source)
    hooks = config.engine.engine != "cohort" and config.privacy.unit != "user"
    if hooks and config.engine.checkpointing:
        raise ConfigError(
            f"{source}: engine.checkpointing = true does not go with privacy.unit = "
            f"{config.privacy.unit} on engine.engine = {config.engine.engine}: its per-example "
            "gradients come from hooks, which see no recomputed layer; use --engine cohort"
        )


def _check_unit(privacy: PrivacyConfig, train: TrainConfig, source: str) -> None:
    """Refuse what no accounting here covers, naming both settings."""

    def refuse(one: str, other: str, why: str) -> ConfigError:
        return ConfigError(f"{source}: {one} does not go with {other}: {why}")

    unit, trust = f"privacy.unit = {privacy.unit}", f"privacy.trust = {privacy.trust}"
    if privacy.trust == "local" and privacy.unit == "user":
        raise refuse(trust, unit, "devices add noise per example; use --unit example")
    if privacy.trust == "local" and privacy.unit == "both":
        raise refuse(trust, unit, "both means examples on the device and users at the server")
    if privacy.trust == "distributed" and privacy.max_participations is not None:
        most = f"privacy.max_participations = {privacy.max_participations}"
        raise refuse(trust, most, "every round counts for everyone; leave it out")
    if privacy.trust == "distributed" and privacy.unit != "user":
        raise refuse(trust, unit, "shares of noise hide whole users' updates; use --unit user")
    if privacy.unit == "user":
        return
    if train.local_batch:
        raise refuse(
            unit, f"train.local_batch = {train.local_batch}", "batches are Poisson samples; use 0"
        )
    if train.history_dropout:
        raise refuse(
            unit,
            f"train.history_dropout = {train.history_dropout:g}",
            "one example less would hide other items in all the others; use 0",
        )
    if privacy.unit == "example" and trust.endswith("central"):
        if train.local_steps > 1:
            raise refuse(
                f"{unit} under central trust",
                f"train.local_steps = {train.local_steps}",
                "a second step would depend on un-noised gradients; use 1, or --trust local",
            )
        if train.weight_decay:
            raise refuse(
                f"{unit} under central trust",
                f"train.weight_decay = {train.weight_decay:g}",
                "only clipped gradients may enter the sum; use 0",
            )
