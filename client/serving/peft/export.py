"""An adapter of a run, written as PEFT reads it."""

from __future__ import annotations

import importlib.metadata
import json
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from peft import LoraConfig
from safetensors.numpy import save
from torch import nn

from client.serving.adapters import read_adapter
from client.serving.peft.card import Measured, Told, card
from client.serving.peft.tensors import Parts, lora_config
from shared.canonical import canonical_json
from shared.config import ExperimentConfig, ModelConfig, to_dict
from shared.config.places import name_alone
from shared.errors import ConfigError, ModelError
from shared.files import make_folder, sync_folder, write_atomically
from shared.model.backbone import BackboneSource, hub_name, load, resolve
from shared.model.text import instruction_tokens, surroundings
from shared.privacy.ledger.promise import Tree, read_promise

CONFIG, WEIGHTS, REST, CARD = (
    *("adapter_config.json", "adapter_model.safetensors"),
    *("starling.safetensors", "README.md"),
)


def write_peft(
    adapter: Path, directory: Path, base: str = "", measured: Measured | None = None
) -> Path:
    """Write an adapter as a folder that plain `peft` loads, all of it or nothing.

    Parameters
    ----------
    adapter : Path
        DIR/adapters/NAME.safetensors of a run, or the adapter of a release.
    directory : Path
        New.
    base : str, optional
        What the base model is called on the hub, `owner/model` or `owner/model@revision`; by
        default what the run called it.
    measured : Measured, optional
        What the run's results say of the adapter, for the card.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ModelError
        If the file is no adapter, nothing in it is PEFT's, or its base model is not here.
    ConfigError
        If the folder exists or cannot be written.
    """
    arrays, config = read_adapter(adapter)
    if directory.exists() or directory.is_symlink():
        raise ConfigError(f"{directory}: is there already; give a new folder")
    model = config.model
    if not model.lora_rank:
        raise ModelError(
            f"--adapter {adapter}: model.lora_rank = 0: no layer of the language model is "
            "corrected, so PEFT has nothing to load; starling recommend ranks with it as it is"
        )
    source = resolve(model.backbone)
    if model.backbone_sha256 not in (None, source.digest):
        raise ModelError(
            f"--adapter {adapter}: was trained on other backbone weights "
            f"({str(model.backbone_sha256)[:12]}) than those here ({source.digest[:12]}); give "
            "what it was trained on"
        )
    _check_plain(model, source, adapter)
    backbone = load(source, model.layers)
    name, revision = _called(base or name_alone(hub_name(model.backbone)))
    parts = Parts.of(arrays)
    settings = lora_config(backbone, model, name, revision)
    _check(parts, backbone, settings, adapter)
    around = surroundings(backbone, instruction_tokens(source, model.instruction))
    rest = parts.rest | {
        "read.blank": around.blank.numpy(),
        "read.scale": np.array([around.scale], dtype=np.float32),
        "read.words": around.words.numpy(),
    }
    promise = read_promise(adapter)
    shapes = {each: array.shape for each, array in rest.items()}
    use = _use(config, name, revision, parts)
    text = card(Told(adapter.stem, config, name, promise, measured, shapes, use))
    return _written(
        directory,
        {
            WEIGHTS: save(parts.as_peft_names_them, metadata={"format": "pt"}),
            REST: save(rest, metadata={"about": _about(config, name, revision, promise)}),
            CARD: text,
            CONFIG: _plain(settings),
        },
    )


def _called(base: str) -> tuple[str, str | None]:
    """A base model's name and revision."""
    name, _, revision = base.partition("@")
    return (name, revision or None) if base.count("/") == 1 else (base, None)


def _check_plain(model: ModelConfig, source: BackboneSource, adapter: Path) -> None:
    """Refuse a model whose items plain libraries do not read as this one did."""
    stated = {"items": model.items, "pooling": None if model.pooling == "mean" else model.pooling}
    stated["backbone"] = model.backbone if source.location.endswith(".gguf") else None
    for name, value in stated.items():
        if value is not None:
            raise ModelError(
                f"--adapter {adapter}: model.{name} = {value}: its items enter the model in a way "
                "that plain transformers and peft do not have; export an adapter of a folder's or "
                "the hub's weights, with items of the same model and their mean"
            )


def _check(parts: Parts, backbone: nn.Module, settings: LoraConfig, adapter: Path) -> None:
    """Refuse pairs of other layers or shapes than the settings in the same file give."""
    from peft import inject_adapter_in_model

    injected = inject_adapter_in_model(settings, backbone)
    wanted = {
        name.removesuffix(".default.weight"): tuple(tensor.shape)
        for name, tensor in injected.named_parameters()
        if ".lora_" in name
    }
    found = {name: array.shape for name, array in parts.pairs.items()}
    if odd := sorted(
        name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
    ):
        raise ModelError(
            f"--adapter {adapter}: {odd[0]}: {found.get(odd[0], 'missing')}, its settings give "
            f"{wanted.get(odd[0], 'none')}; take the adapter of a run"
        )


def _about(config: ExperimentConfig, name: str, revision: str | None, promise: Tree | None) -> str:
    """Under one name: of several the order in the file would be another every time."""
    model = to_dict(config)["model"] | {"backbone": name}
    model |= {} if revision is None else {"revision": revision}
    model.pop("start", None)  # a folder of whoever ran it; its digest stays
    return canonical_json(
        {
            "starling": importlib.metadata.version("starling"),
            "model": model,
            "catalogue": config.data.catalogue,
            "promise": promise,
        }
    )


def _plain(settings: LoraConfig) -> str:
    """As PEFT writes it, in one order."""
    tree: dict[str, Any] = {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in settings.to_dict().items()
    }
    return json.dumps(tree, indent=2, sort_keys=True) + "\n"


def _written(directory: Path, files: dict[str, bytes | str]) -> Path:
    draft = directory.with_name(f".{directory.name}.{secrets.token_hex(8)}.part")
    try:
        make_folder(draft)
        for name, content in files.items():
            write_atomically(draft / name, content)
        draft.rename(directory)
        sync_folder(directory.parent)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise ConfigError(f"{directory}: cannot be written ({error.strerror})") from None
    return directory


def _use(config: ExperimentConfig, name: str, revision: str | None, parts: Parts) -> str:
    """Python with plain libraries that gives the states of a history."""
    model = config.model
    cut = f", num_hidden_layers={model.layers}" if model.layers else ""
    pinned = f", revision={revision!r}" if revision else ""
    corrected = (
        '    x = x + parts["item_in.weight"][history] @ parts["item_up.weight"].T\n'
        if "item_in.weight" in parts.rest
        else ""
    )
    return f'''import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel

base = AutoModel.from_pretrained({name!r}{pinned}{cut}, attn_implementation="eager")
model = PeftModel.from_pretrained(base, ".").eval()
parts = load_file("starling.safetensors")


@torch.no_grad()
def states(history, vectors):
    """What follows each item of a history, [1 + len(history), hidden]; first: before any.

    history: places of items in the catalogue, oldest first. vectors: of all its texts
    [items, hidden]: the mean of the last states of the whole base model (every layer, without
    this adapter) over a text's first {64} tokens, less the mean over the catalogue, of length 1.
    """
    x = vectors[history]
{corrected}    x = parts["read.scale"] * torch.cat([parts["read.blank"][None], x])
    x = torch.cat([parts["read.words"], x])[None]
    blocked = torch.full((x.shape[1], x.shape[1]), torch.finfo(x.dtype).min).triu(1)
    found = model(inputs_embeds=x, attention_mask=blocked[None, None]).last_hidden_state
    return found[0, len(parts["read.words"]):]
'''
