"""Words for a frozen language model: its tokenizer, and a written instruction as vectors."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from shared.errors import ConfigError, ModelError
from shared.model.backbone import BackboneSource


class Instruction(NamedTuple):
    """A text that stands before the items of a history.

    Attributes
    ----------
    words : Tensor float32 [p, hidden]
        Frozen word embeddings of its p tokens.
    scale : float
        Mean length of the model's word embeddings: items (of unit length) are brought to it.
    """

    words: Tensor
    scale: float


def load_tokenizer(source: BackboneSource) -> Any:
    """The tokenizer that belongs to a backbone; pads on the right, with any token at all.

    What stands on the padding is masked out everywhere. On the left it would move positions, and a
    text's vector would depend on its neighbours in the batch.

    Raises
    ------
    ModelError
        If there is none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            source.location, revision=source.revision, trust_remote_code=False
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


def read_instruction(source: BackboneSource, backbone: nn.Module, text: str) -> Instruction | None:
    """The vectors of an instruction; None for an empty one.

    Parameters
    ----------
    backbone : nn.Module
        With its word table still whole.
    text : str
        Tokenized as the backbone's tokenizer does it, special tokens included.

    Raises
    ------
    ConfigError
        If the text holds no token.
    """
    if not text:
        return None
    tokens = load_tokenizer(source)(text)["input_ids"]
    if not tokens:
        raise ConfigError(
            f"model.instruction = {text!r}: holds no token; give text or leave it out"
        )
    table = backbone.get_input_embeddings().weight.detach().float()  # type: ignore[operator]
    scale = float(table.norm(dim=1).mean())
    return Instruction(table[torch.tensor(tokens)].clone(), scale)
