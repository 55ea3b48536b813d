"""Words for a frozen language model: its tokenizer, and what stands around and between items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from shared.config import ModelConfig
from shared.data.attributes import EXTRA
from shared.errors import ConfigError, ModelError
from shared.model.backbone import BackboneSource
from shared.model.sources.entrance import Entrance, entrance
from shared.model.sources.gguf import written_out
from shared.model.sources.pooling import Vectors


class Surroundings(NamedTuple):
    """What a language model reads besides items.

    Attributes
    ----------
    words : Tensor float32 [p, hidden]
        Frozen word embeddings of an instruction's p tokens.
    scale : float
        What items, of unit length, are multiplied by: beside words, the mean length of a word;
        1 without an instruction.
    blank : Tensor float32 [hidden]
        What stands where there is no item: the start of a history, or a hidden place.
    entrance : Entrance, optional
        Of item vectors of another model; by default they enter as they are.
    """

    words: Tensor
    scale: float
    blank: Tensor
    entrance: Entrance | None = None


def surroundings(
    backbone: nn.Module, tokens: Sequence[int] = (), entered: Entrance | None = None
) -> Surroundings:
    """What a backbone reads besides items.

    Parameters
    ----------
    backbone : nn.Module
        With its word table still whole.
    tokens : sequence of int, length [p]
        The instruction.
    entered : Entrance, optional
        Through which items come, as long as words are already.

    Notes
    -----
    Where position vectors are added to the input, a place without an item is zero. A model with
    rotary positions would see nothing at all there: zero stays zero through every layer without
    biases, and the gradient of each of its norms is 1/sqrt(eps), a thousand, which overflows in a
    deep model. There the direction of the mean word stands, of unit length as items are.
    """
    table = backbone.get_input_embeddings().weight.detach().float()  # type: ignore[operator]  # torch: a Module or a Tensor
    words = table[torch.tensor(tokens, dtype=torch.int64)].clone()
    scale = float(table.norm(dim=1).mean()) if len(words) and entered is None else 1.0
    mean = table.mean(0)
    tables = sum(isinstance(module, nn.Embedding) for module in backbone.modules())
    direction = mean / mean.norm().clamp(min=1e-12) if entered is None else entered.blank
    blank = torch.zeros_like(mean) if tables > 1 else direction
    return Surroundings(words, scale, blank, entered)


_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json", "spiece.model")


def load_tokenizer(source: BackboneSource) -> Any:
    """The tokenizer that belongs to a backbone; pads on the right, with any token at all.

    What stands on the padding is masked out everywhere. On the left it would move positions, and a
    text's vector would depend on its neighbours in the batch.

    Raises
    ------
    ModelError
        If there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    place = written_out(source.location, source.digest)
    folder = Path(place)
    # Without a vocabulary every text would become the same unknown words, and nothing would say so.
    if folder.is_dir() and not any((folder / name).is_file() for name in _VOCABULARIES):
        raise ModelError(f"backbone {folder}: holds no tokenizer ({', '.join(_VOCABULARIES)})")
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            place, revision=source.revision, trust_remote_code=False
        )
    except Exception as error:  # whatever its many readers raise; the cause is in the line
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"backbone {source.location}: its tokenizer cannot be loaded ({first}); "
            "the folder needs tokenizer.json"
        ) from None
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def instruction_tokens(source: BackboneSource, text: str) -> list[int]:
    """The tokens of an instruction, special ones included; none for an empty one.

    Raises
    ------
    ConfigError
        If a text holds no token.
    """
    if not text:
        return []
    tokens: list[int] = load_tokenizer(source)(text)["input_ids"]
    if not tokens:
        raise ConfigError(f"model.instruction = {text!r}: holds no token; give text or none")
    return tokens


def around_items(
    source: BackboneSource,
    backbone: nn.Module,
    config: ModelConfig,
    items: tuple[Vectors, Sequence[str]],
) -> Surroundings:
    """What a backbone reads besides a catalogue's items, and how these enter it.

    Parameters
    ----------
    source : BackboneSource
    backbone : nn.Module
        Of `source`, with its word table still whole.
    config : ModelConfig
    items : (ndarray float32 [items, width + 104], sequence of str)
        The public table and the texts; these are read where `config.items` is set.
    """
    through = None
    if config.items is not None:
        vectors, texts = items
        through = entrance(backbone, load_tokenizer(source), texts, vectors[:, :-EXTRA])
    return surroundings(backbone, instruction_tokens(source, config.instruction), through)
