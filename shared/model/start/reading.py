"""A folder as `peft` saves a LoRA, read; nothing in it is run."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from shared.canonical import read_json
from shared.errors import ModelError
from shared.files import check_file, read_file
from shared.model.backbone import LAYER_LISTS

CONFIG, WEIGHTS, PICKLE, OURS = (
    *("adapter_config.json", "adapter_model.safetensors"),
    *("adapter_model.bin", "starling.safetensors"),
)
_MOST_WORDS = 1 << 20  # bytes of the settings
_PAIR = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<factor>[AB])(\.default)?\.weight")
_IN_LIST = re.compile(rf"(?:^|\.)((?:{'|'.join(map(re.escape, LAYER_LISTS))})\.(\d+)\..+)$")
# What changes nothing of the function that A and B give, or is looked at here.
_READ = {
    *("r", "lora_alpha", "use_rslora", "base_model_name_or_path", "revision", "peft_type"),
    *("task_type", "inference_mode", "lora_dropout", "target_modules", "layers_to_transform"),
    *("layers_pattern", "exclude_modules", "fan_in_fan_out", "peft_version", "auto_mapping"),
    *("init_lora_weights", "megatron_core", "eva_config", "corda_config", "loftq_config"),
    *("qalora_group_size", "ensure_weight_tying", "lora_ga_config"),
}
# How A and B were drawn, where that left the base weights as they were.
_DRAWN = (True, False, "gaussian", "orthogonal")


@dataclass(frozen=True)
class Start:
    """A LoRA.

    Attributes
    ----------
    folder : Path
        Where it was read.
    rank : int
    alpha : float
        Its corrections are scaled by alpha / rank.
    base : str
        What it calls its base model.
    revision : str or None
        Of a hub id.
    pairs : dict of (Tensor [rank, in], Tensor [out, rank])
        A and B in float32, by the name of their layer from the list of layers on: what stands
        before that differs between a model with a head and one without.
    digest : str
        SHA-256 (hex) of settings and tensors.
    catalogue : str or None
        SHA-256 of the items that it was trained on, where it was exported from here.
    """

    folder: Path
    rank: int
    alpha: float
    base: str
    revision: str | None
    pairs: dict[str, tuple[Tensor, Tensor]]
    digest: str
    catalogue: str | None

    @property
    def deepest(self) -> int:
        """The number of the last layer that it corrects, from 0; -1 where names have none."""
        return max(int(found[2]) if (found := _IN_LIST.search(at)) else -1 for at in self.pairs)


def inside(layer: str) -> str:
    """A layer's name from the list of layers on; whole where it is in none."""
    found = _IN_LIST.search(layer)
    return layer if found is None else layer[found.start(1) :]


def read_start(folder: Path) -> Start:
    """A LoRA from a folder with `adapter_config.json` and `adapter_model.safetensors`.

    Raises
    ------
    ModelError
        If there is none, or one that is more than pairs A and B of one rank.
    """
    where = f"model.start = {folder}"
    if not folder.is_dir():
        told = "is a file" if folder.exists() else "there is no such folder"
        raise ModelError(f"{where}: {told}; give a folder that peft's save_pretrained made")
    settings = _settings(folder / CONFIG, where)
    _refuse_more(settings, where)
    if not (folder / WEIGHTS).exists() and (folder / PICKLE).exists():
        raise ModelError(
            f"{where}: {PICKLE} is a pickle, which runs code when it is read; save it anew with "
            "safe_serialization=True"
        )
    rank: Any = settings.get("r")
    alpha: Any = settings.get("lora_alpha")
    if type(rank) is not int or rank < 1:
        raise ModelError(f"{where}: {CONFIG}: r = {rank!r}: expected a whole number >= 1")
    if type(alpha) not in (int, float) or not 0 < alpha < math.inf:
        raise ModelError(f"{where}: {CONFIG}: lora_alpha = {alpha!r}: expected a number > 0")
    base = settings.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelError(
            f"{where}: {CONFIG} names no base model; write which it is under "
            "base_model_name_or_path"
        )
    return Start(
        folder=folder,
        rank=rank,
        alpha=alpha * math.sqrt(rank) if settings.get("use_rslora") else float(alpha),
        base=base,
        revision=str(settings["revision"]) if settings.get("revision") else None,
        pairs=_pairs(folder / WEIGHTS, rank, where),
        digest=_digest(folder),
        catalogue=_catalogue(folder / OURS),
    )


def _settings(file: Path, where: str) -> Mapping[str, Any]:
    try:
        if file.stat().st_size > _MOST_WORDS:
            raise ModelError(f"{where}: {file.name}: more than {_MOST_WORDS} bytes")
        tree = read_json(read_file(file))
    except FileNotFoundError:
        raise ModelError(f"{where}: holds no {file.name}, so no LoRA that peft saved") from None
    except OSError as error:
        raise ModelError(f"{where}: {file.name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: {file.name}: not JSON ({str(error)[:100]})") from None
    if not isinstance(tree, dict):
        raise ModelError(f"{where}: {file.name}: no JSON object")
    return tree


def _refuse_more(settings: Mapping[str, Any], where: str) -> None:
    """Whatever else PEFT can do to a layer is another function than s B A."""
    from peft import LoraConfig

    if settings.get("peft_type") != "LORA":
        raise ModelError(
            f"{where}: {CONFIG}: peft_type = {settings.get('peft_type')!r}: expected LORA"
        )
    usual = json.loads(json.dumps(LoraConfig().to_dict(), default=str))
    for name, value in sorted(settings.items()):
        if name not in _READ and value != usual.get(name) and value not in (None, False, {}, []):
            raise ModelError(
                f"{where}: {CONFIG}: {name} = {str(value)[:60]!r}: only plain pairs A and B are "
                "taken; merge it into the base model, or train one without"
            )
    drawn = settings.get("init_lora_weights", True)
    if drawn not in _DRAWN:
        raise ModelError(
            f"{where}: {CONFIG}: init_lora_weights = {str(drawn)[:60]!r} may have changed the base "
            "weights; convert it to plain LoRA with peft (path_initial_model_for_weight_conversion)"
        )


def _pairs(file: Path, rank: int, where: str) -> dict[str, tuple[Tensor, Tensor]]:
    factors: dict[str, dict[str, Tensor]] = {}
    try:
        check_file(file)
        with safe_open(file, framework="pt") as stream:
            for name in sorted(stream.keys()):
                found = _PAIR.fullmatch(name)
                if found is None:
                    raise ModelError(
                        f"{where}: {WEIGHTS}: {name[:120]!r}: only lora_A and lora_B of linear "
                        "layers are taken"
                    )
                factors.setdefault(found["layer"], {})[found["factor"]] = stream.get_tensor(name)
    except FileNotFoundError:
        raise ModelError(f"{where}: holds no {file.name}") from None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{where}: {file.name}: cannot be read ({str(error)[:100]})") from None
    if not factors:
        raise ModelError(f"{where}: {WEIGHTS}: holds no layer")
    return {inside(layer): _pair(layer, pair, rank, where) for layer, pair in factors.items()}


def _pair(layer: str, pair: dict[str, Tensor], rank: int, where: str) -> tuple[Tensor, Tensor]:
    named = f"{where}: {WEIGHTS}: {layer[:120]}"
    if pair.keys() != {"A", "B"}:
        raise ModelError(f"{named}: has no lora_{'B' if 'A' in pair else 'A'}")
    down, up = pair["A"], pair["B"]
    if down.dim() != 2 or up.dim() != 2 or down.shape[0] != rank or up.shape[1] != rank:
        raise ModelError(
            f"{named}: A {tuple(down.shape)} and B {tuple(up.shape)}: expected [{rank}, in] and "
            f"[out, {rank}], the r of {CONFIG}"
        )
    if not (down.is_floating_point() and up.is_floating_point()):
        raise ModelError(f"{named}: {down.dtype}: expected floating-point numbers")
    made = down.to(torch.float32), up.to(torch.float32)
    if not all(torch.isfinite(each).all() for each in made):
        raise ModelError(f"{named}: holds numbers that are not finite")
    return made


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        with (folder / name).open("rb") as stream:
            part = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{name} {part}\n".encode())
    return whole.hexdigest()


def _catalogue(file: Path) -> str | None:
    """Of the side file of an export, as far as there is one."""
    try:
        check_file(file)
        with safe_open(file, framework="pt") as stream:
            told = read_json((stream.metadata() or {}).get("about", "{}"))
    except (SafetensorError, OSError, ValueError):
        return None
    found = told.get("catalogue") if isinstance(told, dict) else None
    return found if isinstance(found, str) else None
