"""An adapter taken apart: what PEFT has a place for, and the rest.

A layer's correction is s B A, s = alpha / r. PEFT holds A and B. Where there is a core between the
two, s B R A, the product B R stands for B: the same function, and R itself is among the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from peft import LoraConfig
from torch import nn

from shared.config import ModelConfig
from shared.errors import ModelError
from shared.model.backbone import place_of_blocks
from shared.model.layers import linear_layers, transposed
from shared.model.lora import target_layers

Arrays = dict[str, npt.NDArray[np.float32]]
_PAIR = re.compile(r"backbone\.(?P<layer>.+)\.lora_(?P<factor>[AB])\.default(\.(?P<part>core|up))?")


@dataclass(frozen=True)
class Parts:
    """An adapter's tensors.

    Attributes
    ----------
    pairs : dict of ndarray float32
        `LAYER.lora_A` [r, in] and `LAYER.lora_B` [out, r] of every layer that is corrected.
    rest : dict of ndarray float32
        All else by its own name, cores of pairs among it.
    """

    pairs: Arrays
    rest: Arrays

    @classmethod
    def of(cls, adapter: Mapping[str, npt.NDArray[np.float32]]) -> Parts:
        """Of a file's tensors by name."""
        pairs: Arrays = {}
        rest: Arrays = {}
        cores: Arrays = {}
        for name, array in adapter.items():
            found = _PAIR.fullmatch(name.removesuffix(".weight"))
            if found is None:
                rest[name] = array
            elif found["part"] == "core":
                rest[name] = cores[found["layer"]] = array
            else:
                pairs[f"{found['layer']}.lora_{found['factor']}"] = array
        for layer, core in cores.items():
            up = pairs[f"{layer}.lora_B"].astype(np.float64)
            pairs[f"{layer}.lora_B"] = (up @ core).astype(np.float32)
        return cls(pairs, rest)

    @property
    def as_peft_names_them(self) -> Arrays:
        """The pairs, as `adapter_model.safetensors` holds them."""
        return {f"base_model.model.{name}.weight": pair for name, pair in self.pairs.items()}


def lora_config(
    backbone: nn.Module, model: ModelConfig, base: str, revision: str | None
) -> LoraConfig:
    """What PEFT asks beside the tensors; it chooses the same layers of the whole model.

    Parameters
    ----------
    backbone : nn.Module
        Without LoRA, of as many layers as the model keeps.
    model : ModelConfig
    base : str
        What the base model is called, a hub id or a folder.
    revision : str, optional
        Of a hub id.

    Raises
    ------
    ModelError
        If the layers' place in this backbone is not known.
    """
    place = place_of_blocks(backbone)
    if place is None:
        raise ModelError(f"{type(backbone).__name__}: where its layers are is not known here")
    layers = linear_layers(backbone)
    names = target_layers(backbone, model.lora_targets)
    inside = re.compile(rf"(?:^|\.){re.escape(place[1])}\.(\d+)\.(.+)$")
    cut = {name: found for name in layers if (found := inside.search(name))}
    numbers = sorted({int(cut[name][1]) for name in names if name in cut})
    ends = sorted({cut[name][2] for name in names if name in cut})
    meant = [
        name
        for name, found in cut.items()
        if int(found[1]) in numbers and any(f".{name}".endswith(f".{end}") for end in ends)
    ]
    return LoraConfig(
        task_type="FEATURE_EXTRACTION",
        base_model_name_or_path=base,
        revision=revision,
        inference_mode=True,
        r=model.lora_rank,
        lora_alpha=model.lora_alpha,
        lora_dropout=0.0,
        # Where an ending would choose more than what is adapted, whole names do not.
        target_modules=ends if meant == names else names,
        layers_to_transform=numbers,
        layers_pattern=place[1],
        fan_in_fan_out=any(transposed(layers[name]) for name in names),
    )
