"""The recommender: a history of item vectors through a frozen language model, scored at once.

For items i with frozen text vectors e_i (rows of E) and history i_1 ... i_n:

    x_t = e_{i_t} + B a_{i_t}                     input, a = low-rank correction of the item table
    h_t = LM(w_1 ... w_p, c x_1 ... c x_t)         frozen backbone + LoRA, causal mask
    q_t = text | categories | years | ...          what blocks of kernels take of the history
    f_t = alpha h_t + q_t[text]
    g_t = f_t + U C U' f_t                         core C [k, k] on leading text components U
    s_t = E g_t + A B' g_t + F q_t[others] + b     one score per item of the catalogue

q and F, decayed means of the history and the items' factors by attributes and by what people have
together, are those of `shared.model.affinities`; the means of the text are of x. They are a path
around the language model: untrained, it already ranks items that are like what was liked last, so
training starts well above popularity and noise has little to destroy. No round trains their
weights.
Items of another model (`model.items`) stand where words do: see `shared.model.sources.entrance`.

w are the frozen word embeddings of a written instruction and c their mean length over the
vocabulary, so that items, of unit length, stand beside words as words do; without an instruction
p = 0 and c = 1. Where there is no item, x is zero, and the language model reads its blank (see
`shared.model.text`).
Where `model.factors` is principal, x_t is e_{i_t} alone, and B' reads the leading text components.
Every trained factor is a layer of its own (Opacus differentiates modules, not bare parameters); the
item table's A is tied between input and output.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from shared.config import ModelConfig
from shared.model.affinities import (
    TEXT,
    ScoreParts,
    StateParts,
    block_widths,
    kernels,
    starting_mix,
    summaries,
)
from shared.model.attention import packed_attention
from shared.model.backbone import (
    BackboneSource,
    causal_mask,
    check_length,
    drop_word_embeddings,
    first_position,
    load,
)
from shared.model.directions import components
from shared.model.layers import (
    AdapterEmbedding,
    AdapterLinear,
    layers_of,
    mark_frozen,
    packed,
    released,
    zero_linear,
)
from shared.model.lora import add_lora
from shared.model.packing import Packing, frozen_linear
from shared.model.quantize import quantize
from shared.model.sources.pooling import Vectors
from shared.model.start import Start, begin_from
from shared.model.text import Surroundings, around_items, surroundings


class Recommender(nn.Module):
    """Scores every item of a catalogue after every prefix of a history.

    Parameters
    ----------
    backbone : nn.Module
        Frozen; maps `inputs_embeds` [batch, length, hidden] to `.last_hidden_state`.
    vectors : ndarray float32 [items, hidden] or [items, hidden + 104]
        The public table: frozen text vectors, centred, unit length, and the attributes' factors.
        Of any width where `around` has an entrance.
    config : ModelConfig
    around : Surroundings, optional
        Instruction and blank; by default no instruction, and the backbone's own blank.

    Raises
    ------
    ConfigError
        If instruction and windows are longer than the backbone's positions, a LoRA target is none
        of its layers, or the core is larger than the space.
    """

    table: Tensor
    words: Tensor
    blank: Tensor
    basis: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        vectors: Vectors,
        config: ModelConfig,
        around: Surroundings | None = None,
    ) -> None:
        super().__init__()
        shape: Any = backbone.config
        around = surroundings(backbone) if around is None else around
        self.entrance = around.entrance  # None: items are as wide as the reader, and enter as such
        hidden = shape.hidden_size if self.entrance is None else self.entrance.width
        self.register_buffer("table", torch.from_numpy(vectors), persistent=False)
        count, text = len(vectors), self.table[:, :hidden]
        self._widths = block_widths(hidden, vectors.shape[1], config.moments_rank)
        check_length(backbone, len(around.words), config.max_length)
        self.dtype = torch.float32
        self.item_scale = around.scale
        self.register_buffer("words", around.words, persistent=False)
        self.register_buffer("blank", around.blank, persistent=False)
        self.hidden_scale = config.hidden_scale
        generator = torch.Generator().manual_seed(config.seed)
        self.backbone = add_lora(
            backbone,
            config.lora_rank,
            config.lora_alpha,
            config.lora_targets,
            generator,
            config.factors,
        )
        if config.weights != "full":
            quantize(self.backbone, config.weights)
        mark_frozen(self.backbone)
        self.item_in: AdapterEmbedding | None = None
        self.item_out: AdapterLinear | None = None
        if config.item_rank and config.factors == "principal":
            reads = components(text, config.item_rank)
            self.item_down = AdapterLinear(hidden, len(reads))
            self.item_down.weight.data.copy_(reads)
            self.item_out = zero_linear(len(reads), count)
        elif config.item_rank:
            self._add_item_correction(count, hidden, config.item_rank, generator)
        self.core: AdapterLinear | None = None
        if config.projection_rank:
            rank = min(config.projection_rank, count, hidden)  # of all that there is
            basis = torch.linalg.svd(text, full_matrices=False).Vh[:rank].T
            self.register_buffer("basis", basis.contiguous(), persistent=False)
            self.core = zero_linear(rank, rank)
        # A bias as a layer from a constant 1, so that per-sample gradients see a module.
        self.item_bias = zero_linear(1, count) if config.item_bias else None
        self.mix = released(starting_mix(list(self._widths), text, config))
        tables = torch.zeros(count, config.moments_rank)
        self.moments_in = released(tables) if config.moments_rank else None
        self.moments_out = released(tables) if config.moments_rank else None
        self._packing: Packing | None = None
        language_model = layers_of(self.backbone)
        own = [layer for layer in layers_of(self) if layer not in language_model]
        self._layers = language_model, own
        self.train()  # dropout is zero everywhere; Opacus needs train mode

    def _add_item_correction(
        self, items: int, hidden: int, rank: int, generator: torch.Generator
    ) -> None:
        self.item_in = AdapterEmbedding(items, rank)
        self.item_up = AdapterLinear(rank, hidden)  # B
        self.item_down = AdapterLinear(hidden, rank)  # B', tied: B's transpose at the start
        self.item_out = AdapterLinear(rank, items)
        with torch.no_grad():
            self.item_in.weight.zero_()  # the correction starts at zero, as LoRA's B does
            self.item_up.weight.normal_(0, rank**-0.5, generator=generator)
            self.item_down.weight.copy_(self.item_up.weight.T)
        self.item_out.weight = self.item_in.weight

    @property
    def items(self) -> Tensor:
        """The text vectors E, [items, hidden]."""
        return self.table[:, : self._widths[TEXT]]

    @contextmanager
    def packed(self, packing: Packing) -> Iterator[None]:
        """For as long as it takes, backward pass included, inputs are rows of packed windows.

        `hidden` then maps indices [T] to states [T, width], and a stack of weights may stand in
        for every trained one.
        """
        inner = packing.after(len(self.words))
        language_model, own = self._layers
        before, self._packing = self._packing, packing
        attention = packed_attention(self.backbone)
        try:
            with packed(own, packing), packed(language_model, inner), attention:
                yield
        finally:
            self._packing = before

    def hidden(self, inputs: Tensor) -> Tensor:
        """States that are scored.

        Parameters
        ----------
        inputs : Tensor int64 [batch, length]
            Item indices in order of time; -1 is the start of a history, or padding on the right.

        Returns
        -------
        Tensor [batch, length, width]
            width = hidden + 104 + model.moments_rank: g, then what the blocks other than text
            take of the history.
        """
        x = self._embed(inputs)
        state = self.hidden_scale * self._read(x, inputs >= 0)
        text, others = self._split(self._affinities(inputs, x))
        return torch.cat([self._turn(state + text), others], dim=-1)

    def read(self, inputs: Tensor) -> Tensor:
        """The language model's own states; inputs and shape as of `hidden`."""
        return self._read(self._embed(inputs), inputs >= 0)

    def _affinities(self, inputs: Tensor, x: Tensor) -> Tensor:
        """q of indices [..., length] and their x [..., length, hidden], [..., length, width]."""

        def one_group(rows: Tensor, known: Tensor) -> Tensor:
            return summaries(self.mix.weight, rows, known, list(self._widths.values()))

        rows = self._rows(inputs, x)
        known = (inputs >= 0).to(rows.dtype)
        if self._packing is None:
            return one_group(rows, known)
        return self._packing.map(one_group, rows, known)

    def _rows(self, inputs: Tensor, x: Tensor) -> Tensor:
        """In of all blocks, [..., width]; of an item that is none any. That of the text is x."""
        index = inputs.clamp(min=0)
        rows = [x, self.table[index, self._widths[TEXT] :]]
        if self.moments_in is not None:
            rows.append(self.moments_in.weight[index])
        return torch.cat(rows, dim=-1)

    def _split(self, wide: Tensor) -> tuple[Tensor, Tensor]:
        """[..., width] -> the text's columns and the others'."""
        hidden = self._widths[TEXT]
        return wide[..., :hidden], wide[..., hidden:]

    def _embed(self, inputs: Tensor) -> Tensor:
        """Indices [..., length] -> x [..., length, hidden]; the start is a zero vector."""
        known = (inputs >= 0)[..., None]
        index = inputs.clamp(min=0)
        x = self.items[index]
        if self.item_in is not None:
            x = x + self.item_up(self.item_in(index))
        return x * known.to(x.dtype)

    def _read(self, x: Tensor, known: Tensor) -> Tensor:
        """x [..., length, hidden] through the language model, of the same shape.

        Where no item is `known`, bool [..., length], the model's blank stands.
        """
        through = self.entrance
        if through is not None:
            x = self._product(x, through.enter) + through.offset
        x = torch.where(known[..., None], x, self.blank)
        if len(self.words):
            x = self.item_scale * x
        packing = self._packing
        state = self._read_windows(x) if packing is None else self._read_row(x, packing)
        return state if through is None else self._product(state, through.leave)

    def _read_windows(self, x: Tensor) -> Tensor:
        """x [batch, length, hidden]; padding stands on the right, where the mask hides it."""
        length = x.shape[-2]
        x = self._after_words(x)  # [batch, p + length, hidden]
        state = self._states(x, causal_mask(x.shape[-2], self.dtype, x.device))
        return state[..., -length:, :].to(x.dtype)

    def _read_row(self, x: Tensor, packing: Packing) -> Tensor:
        """x [T, hidden], packed."""
        words = len(self.words)
        inner = packing.after(words)
        row = inner.row([self._after_words(group) for group in packing.rectangles(x)])
        mask = row.new_zeros(1, 1, 1, 1)  # keeps transformers from making one of T by T
        places = inner.positions[None] + first_position(self.backbone)
        state = self._states(row[None], mask, position_ids=places, packing=inner)[0]
        return packing.row([group[:, words:] for group in inner.rectangles(state)]).to(x.dtype)

    def _after_words(self, x: Tensor) -> Tensor:
        words = self.words.expand(*x.shape[:-2], *self.words.shape)
        return torch.cat((words, x), dim=-2) if len(self.words) else x

    def _states(self, x: Tensor, mask: Tensor, **more: Any) -> Tensor:
        output = self.backbone(inputs_embeds=x.to(self.dtype), attention_mask=mask, **more)
        state: Tensor = output.last_hidden_state
        return state

    def compute_in(self, dtype: torch.dtype) -> None:
        """Let the frozen backbone compute in another type; all that is trained stays float32.

        Parameters
        ----------
        dtype : torch.dtype
            torch.bfloat16, say. Scores, losses and gradients of the adapter stay float32.
        """
        for parameter in self.backbone.parameters():
            if not parameter.requires_grad:  # buffers, such as rotary frequencies, keep their type
                parameter.data = parameter.data.to(dtype)
        self.dtype = dtype

    def _turn(self, state: Tensor) -> Tensor:
        if self.core is None:
            return state
        turned: Tensor = self.core(state @ self.basis) @ self.basis.T
        return state + turned

    def state(self, window: Tensor) -> StateParts:
        """What is scored after a window, int64 [length], as parts that add up to it exactly."""
        x = self._embed(window[None])  # [1, length, hidden]
        state = self.hidden_scale * self._read(x, window[None] >= 0)[0, -1]  # [hidden]
        taken = kernels(self.mix.weight, (window >= 0).to(x.dtype))[:, -1, :, None]
        rows = torch.split(self._rows(window, x[0]), list(self._widths.values()), dim=-1)
        history: dict[str, Tensor] = {}
        for name, share, row in zip(self._widths, taken, rows, strict=True):
            part = share * row  # [length, columns]
            history[name] = self._among(name, self._turn(part) if name == TEXT else part)
        return StateParts(history, self._among(TEXT, self._turn(state)))

    def parts(self, state: StateParts, items: Tensor | None = None) -> ScoreParts:
        """The scores of a state as parts that add up to them exactly.

        Parameters
        ----------
        state : StateParts
        items : Tensor int64 [n], optional
            Of which; by default of all.
        """
        history = {name: self._match(part, items) for name, part in state.history.items()}
        every = slice(None) if items is None else items
        bias = self.table.new_zeros(len(self.table[every]))
        if self.item_bias is not None:
            bias = self.item_bias.weight[every, 0]
        return ScoreParts(history, self._match(state.language_model, items), bias)

    def _among(self, name: str, part: Tensor) -> Tensor:
        """A block's columns in a state that is zero in all others, [..., width]."""
        zero = part[..., :1] * 0
        wide = [
            part if block == name else zero.expand(*part.shape[:-1], width)
            for block, width in self._widths.items()
        ]
        return torch.cat(wide, dim=-1)

    def _match(self, state: Tensor, items: Tensor | None = None) -> Tensor:
        """States [..., width] against all that there is of the items -> [..., items]; linear.

        Against some of them, int64 [n], in evaluation only.
        """
        every = slice(None) if items is None else items
        public = self.table.shape[1]
        scores = self._product(state[..., :public], self.table[every])
        if self.moments_out is not None:
            others = self.moments_out.weight[every]
            scores = scores + self._product(state[..., public:], others)
        if self.item_out is not None:
            down = self.item_down(self._split(state)[0])
            some = items is not None
            scores = scores + (
                down @ self.item_out.weight[items].T if some else self.item_out(down)
            )
        return scores

    def _product(self, state: Tensor, table: Tensor) -> Tensor:
        return state @ table.T if self._packing is None else frozen_linear(state, table)

    def score(self, hidden: Tensor) -> Tensor:
        """States [..., width] -> scores [..., items]."""
        scores = self._match(hidden)
        if self.item_bias is not None:
            scores = scores + self.item_bias(torch.ones_like(hidden[..., :1]))
        return scores

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs int64 [batch, length] -> scores [batch, length, items]."""
        return self.score(self.hidden(inputs))


def build_recommender(
    source: BackboneSource,
    vectors: Vectors,
    config: ModelConfig,
    texts: Sequence[str] = (),
    start: Start | None = None,
) -> Recommender:
    """A recommender on the first `config.layers` layers, its pairs fresh or those of `start`.

    With `config.items` the items' `texts` say where in the source their vectors stand.
    """
    backbone = load(source, config.layers)
    around = around_items(source, backbone, config, (vectors, texts))
    drop_word_embeddings(backbone)
    made = Recommender(backbone, vectors, config, around)
    if start:
        begin_from(made.backbone, start, config)
    return made
