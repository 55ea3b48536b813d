"""What the aggregation rule asks of the other settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.errors import ConfigError

if TYPE_CHECKING:
    from shared.config import ExperimentConfig

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
