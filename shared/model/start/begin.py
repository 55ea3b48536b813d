"""A model's corrections, begun from a LoRA: only if it is one of the same layers and base model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from shared.config import ExperimentConfig, ModelConfig
from shared.errors import ConfigError, ModelError
from shared.model.backbone import BackboneSource, hub_name, resolve
from shared.model.start.reading import Start, inside, read_start


def start_of(model: ModelConfig, source: BackboneSource) -> Start | None:
    """What `model.start` names; None where it names nothing.

    Raises
    ------
    ModelError
        If it is no LoRA, or one of another base model.
    ConfigError
        If it is another one than when the run started.
    """
    if not model.start:
        return None
    start = read_start(Path(model.start))
    _refuse_another_base(start, model.backbone, source)
    if model.layers and start.deepest >= model.layers:
        raise ConfigError(
            f"model.layers = {model.layers}: {model.start} corrects layer {start.deepest + 1}; "
            "give at least that, or 0 for all"
        )
    if model.start_sha256 not in (None, start.digest):
        raise ConfigError(
            f"model.start_sha256: is {start.digest[:12]} here, the settings say "
            f"{str(model.start_sha256)[:12]}: {model.start} changed since the run started; start a "
            "new run with another --out"
        )
    return start


def started_from(start: str | None, is_public: bool) -> dict[str, Any]:
    """What follows from `--start` and `--start-is-public`, as flags for `override`.

    A model has the shape of what it begins from.

    Parameters
    ----------
    start : str, optional
        A folder with a LoRA; None: there is none.
    is_public : bool
        Whether it is stated that nothing in it is of the run's people.

    Raises
    ------
    ConfigError
        If that is stated of nothing.
    ModelError
        If there is no LoRA in the folder.
    """
    if start is None:
        if is_public:
            raise ConfigError("--start-is-public: without --start there is nothing to state it of")
        return {}
    found = read_start(Path(start))
    stated = {"model.start_is_public": True} if is_public else {}
    return stated | {
        "model.lora_rank": found.rank,
        "model.lora_alpha": found.alpha,
        "model.lora_targets": list(found.pairs),
    }


def refuse_same_people(start: Start | None, catalogue: str) -> None:
    """Refuse a start that says it was trained on the same items: then on the same people, too.

    Raises
    ------
    ConfigError
        Where its own record names the catalogue.
    """
    if start is not None and start.catalogue == catalogue:
        raise ConfigError(
            f"model.start = {start.folder}: its starling.safetensors says that it was trained on "
            f"these items ({catalogue[:12]}), so on people of this run: it is not public, and what "
            "it holds of them no budget would count; start from another"
        )


def refuse_on_devices(config: ExperimentConfig) -> None:
    """Refuse a start where real devices make some of the pairs themselves, and do not have it.

    Raises
    ------
    ConfigError
        Under a rule of which a pair's factors do not all travel.
    """
    rule = config.federation.aggregation
    if config.model.start is not None and rule in ("ffa", "fedsa"):
        raise ConfigError(
            f"model.start = {config.model.start} does not go with federation.aggregation = {rule} "
            "on real devices, which make what does not travel themselves; use fedit, alternating, "
            "fedsvd or flexlora"
        )


@torch.no_grad()
def begin_from(adapted: nn.Module, start: Start, model: ModelConfig) -> None:
    """Let every pair of a module be the start's, in place.

    Parameters
    ----------
    adapted : nn.Module
        A backbone with LoRA as `model` has it.
    start : Start
    model : ModelConfig

    Raises
    ------
    ConfigError
        If rank or scale are others, naming the setting.
    ModelError
        If it is of other layers, or one has another shape.
    """
    where = f"model.start = {start.folder}"
    for name, ours, theirs in (
        ("model.lora_rank", model.lora_rank, start.rank),
        ("model.lora_alpha", model.lora_alpha, start.alpha),
    ):
        if ours != theirs:
            raise ConfigError(f"{name} = {ours:g}: {start.folder} has {theirs:g}; give that")
    found: Any = adapted.named_modules()
    layers = {inside(name): layer for name, layer in found if hasattr(layer, "lora_A")}
    pairs = start.pairs
    if foreign := sorted(pairs.keys() - layers.keys()):
        raise ModelError(
            f"{where}: corrects {foreign[0]}, which model.lora_targets and model.layers = "
            f"{model.layers} leave as it is; choose the layers that it corrects, or another start"
        )
    if missing := sorted(layers.keys() - pairs.keys()):
        raise ModelError(
            f"{where}: does not correct {missing[0]}, which model.lora_targets names; leave it out"
        )
    for name, (down, up) in pairs.items():
        to_down, to_up = layers[name].lora_A["default"], layers[name].lora_B["default"]
        if down.shape != to_down.weight.shape or up.shape != to_up.weight.shape:
            raise ModelError(
                f"{where}: {name}: A {tuple(down.shape)} and B {tuple(up.shape)}, here "
                f"{tuple(to_down.weight.shape)} and {tuple(to_up.weight.shape)}: it is of another "
                "base model"
            )
        to_down.weight.copy_(down)
        to_up.weight.copy_(up)


def _refuse_another_base(start: Start, backbone: str, source: BackboneSource) -> None:
    named, _, revision = hub_name(backbone).partition("@")
    theirs = hub_name(start.base)
    if _is_folder(start.base):
        here = Path(start.base).resolve() == Path(source.location).resolve()
        same = here or resolve(start.base).digest == source.digest
    else:
        same = theirs == named or (
            # A local copy under the model's own name.
            _is_folder(backbone) and Path(theirs).name.lower() == Path(named).name.lower()
        )
    pinned = start.revision not in (None, "main") and revision
    if not same or (pinned and start.revision != revision):
        at = f"@{start.revision}" if start.revision else ""
        raise ModelError(
            f"model.start = {start.folder}: is of base model {start.base}{at}, model.backbone is "
            f"{backbone}; give its base model with --backbone. Where they are the same, say so "
            "under base_model_name_or_path in its adapter_config.json"
        )


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # longer than a path may be
        return False
