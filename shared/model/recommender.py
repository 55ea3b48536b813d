"""The recommender: a history of item vectors through a frozen language model, scored at once.

For items i with frozen text vectors e_i (rows of E) and history i_1 ... i_n:

    x_t = e_{i_t} + B a_{i_t}                     input, a = low-rank correction of the item table
    h_t = LM(x_1 ... x_t)                          frozen backbone + LoRA, causal mask
    g_t = h_t + U C U' h_t                         core C [k, k] on leading text components U
    s_t = scale (E g_t + A B' g_t) + b             one score per item of the catalogue

Every trained factor is an `nn.Embedding` or `nn.Linear` (Opacus differentiates modules, not bare
parameters); the item table's A is tied between input and output.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from shared.config import ModelConfig
from shared.errors import ConfigError
from shared.model.backbone import BackboneSource, causal_mask, load


class Recommender(nn.Module):
    """Scores every item of a catalogue after every prefix of a history.

    Parameters
    ----------
    backbone : nn.Module
        Frozen; maps `inputs_embeds` [batch, length, hidden] to `.last_hidden_state`.
    vectors : ndarray float32 [items, hidden]
        Frozen text vectors, centred, unit length.
    config : ModelConfig
    """

    items: Tensor
    basis: Tensor

    def __init__(
        self, backbone: nn.Module, vectors: npt.NDArray[np.float32], config: ModelConfig
    ) -> None:
        super().__init__()
        count, hidden = vectors.shape
        table = torch.from_numpy(vectors)
        self.scale = config.logit_scale
        self.register_buffer("items", table, persistent=False)
        generator = torch.Generator().manual_seed(config.seed)
        self.backbone = _with_lora(backbone, config, generator)
        self.item_in: nn.Embedding | None = None
        if config.item_rank:
            self._add_item_correction(count, hidden, config.item_rank, generator)
        self.core: nn.Linear | None = None
        if config.projection_rank:
            if config.projection_rank > min(count, hidden):
                raise ConfigError(
                    f"model.projection_rank = {config.projection_rank}: at most "
                    f"{min(count, hidden)} with {count} items of width {hidden}"
                )
            basis = torch.linalg.svd(table, full_matrices=False).Vh[: config.projection_rank].T
            self.register_buffer("basis", basis.contiguous(), persistent=False)
            self.core = _zero_linear(config.projection_rank, config.projection_rank)
        # A bias as a layer from a constant 1, so that per-sample gradients see a module.
        self.item_bias = _zero_linear(1, count) if config.item_bias else None
        self.train()  # dropout is zero everywhere; Opacus needs train mode

    def _add_item_correction(
        self, items: int, hidden: int, rank: int, generator: torch.Generator
    ) -> None:
        self.item_in = nn.Embedding(items, rank)
        self.item_up = nn.Linear(rank, hidden, bias=False)  # B
        self.item_down = nn.Linear(hidden, rank, bias=False)  # B', tied: B's transpose at the start
        self.item_out = nn.Linear(rank, items, bias=False)
        with torch.no_grad():
            self.item_in.weight.zero_()  # the correction starts at zero, as LoRA's B does
            self.item_up.weight.normal_(0, rank**-0.5, generator=generator)
            self.item_down.weight.copy_(self.item_up.weight.T)
        self.item_out.weight = self.item_in.weight

    def hidden(self, inputs: Tensor) -> Tensor:
        """States that are scored.

        Parameters
        ----------
        inputs : Tensor int64 [batch, length]
            Item indices in order of time; -1 is the start of a history, or padding on the right.

        Returns
        -------
        Tensor [batch, length, hidden]
        """
        known = (inputs >= 0)[..., None]
        index = inputs.clamp(min=0)
        x = self.items[index]
        if self.item_in is not None:
            x = x + self.item_up(self.item_in(index))
        x = x * known.to(x.dtype)  # the start token is a zero vector with a position
        # Padding stands on the right, where the causal mask already hides it.
        mask = causal_mask(inputs.shape[-1], x.dtype, x.device)
        state: Tensor = self.backbone(inputs_embeds=x, attention_mask=mask).last_hidden_state
        if self.core is not None:
            state = state + self.core(state @ self.basis) @ self.basis.T
        return state

    def score(self, hidden: Tensor) -> Tensor:
        """States [..., hidden] -> scores [..., items]."""
        scores = hidden @ self.items.T
        if self.item_in is not None:
            scores = scores + self.item_out(self.item_down(hidden))
        scores = self.scale * scores
        if self.item_bias is not None:
            scores = scores + self.item_bias(torch.ones_like(hidden[..., :1]))
        return scores

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs int64 [batch, length] -> scores [batch, length, items]."""
        return self.score(self.hidden(inputs))


def build_recommender(
    source: BackboneSource, vectors: npt.NDArray[np.float32], config: ModelConfig
) -> Recommender:
    """A recommender on the first `config.layers` layers of `source`, with a fresh adapter."""
    backbone = load(source, config.layers)
    _drop_word_embeddings(backbone)
    return Recommender(backbone, vectors, config)


def _drop_word_embeddings(backbone: nn.Module) -> None:
    # Items enter as vectors: the word table, half of MiniLM, would only take memory.
    words = backbone.get_input_embeddings()  # type: ignore[operator]  # transformers' own method
    tiny = nn.Embedding(1, words.weight.shape[1], _weight=words.weight[:1].detach().clone())
    backbone.set_input_embeddings(tiny.requires_grad_(False))  # type: ignore[operator]  # likewise


def _zero_linear(width_in: int, width_out: int) -> nn.Linear:
    layer = nn.Linear(width_in, width_out, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def _with_lora(backbone: nn.Module, config: ModelConfig, generator: torch.Generator) -> nn.Module:
    """LoRA (Hu et al. 2021) on the named linear layers: A random, B zero."""
    backbone.requires_grad_(False)
    if config.lora_rank == 0:
        return backbone
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        target_modules=list(config.lora_targets),
        lora_dropout=0.0,
    )
    try:
        adapted: nn.Module = inject_adapter_in_model(settings, backbone)
    except ValueError as error:
        raise ConfigError(
            f"model.lora_targets = {list(config.lora_targets)}: {str(error).splitlines()[0]}"
        ) from None
    with torch.no_grad():  # our generator: the same seed gives the same adapter everywhere
        for name, parameter in adapted.named_parameters():
            if "lora_A" in name:
                bound = parameter.shape[1] ** -0.5
                parameter.uniform_(-bound, bound, generator=generator)
    return adapted
