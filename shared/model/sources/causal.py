"""A causal language model with its head: what it writes, and how likely it finds a text."""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from shared.errors import ModelError
from shared.model.backbone import BackboneSource, resolve
from shared.model.sources.gguf import written_out
from shared.model.text import load_tokenizer


class CausalModel:
    """A frozen causal language model and its tokenizer, in float32 on the CPU.

    Parameters
    ----------
    name : str
        As `model.backbone`: `smollm2`, a folder, a GGUF file, `owner/model@revision`.

    Raises
    ------
    ModelError
        If it is nowhere, cannot be loaded, or is no causal model.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        source = resolve(name)
        self._tokenizer = load_tokenizer(source)
        self._model = _load(source)

    @torch.inference_mode()
    def write(self, beginning: str, prompts: list[str], most: int) -> list[str]:
        """What most likely follows each prompt, token by token, up to the end of its line.

        Parameters
        ----------
        beginning : str
            What all prompts begin with: read once.
        prompts : list of str
            What follows it, tokens of its own; all are written at once.
        most : int
            Tokens at most, >= 1.

        Returns
        -------
        list of str
            The same on the same machine whenever it is asked, up to ties that rounding decides.
        """
        first = self._tokenizer(beginning, return_tensors="pt")["input_ids"]  # [1, p]
        plain: dict[str, Any] = {"add_special_tokens": False}
        rows = [self._tokenizer(prompt, **plain)["input_ids"] for prompt in prompts]
        self._check_room(first.shape[1] + max(map(len, rows)) + most)
        state = self._model(input_ids=first, use_cache=True).past_key_values
        state.batch_repeat_interleave(len(rows))
        tokens, mask = _padded(rows)  # [prompts, length], on the left
        mask = torch.cat([mask.new_ones(len(rows), first.shape[1]), mask], 1)
        written: list[list[int]] = [[] for _ in rows]
        going = set(range(len(rows)))
        for _ in range(most):
            places = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
            found = self._model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=places,
                past_key_values=state,
                use_cache=True,
            )
            best = found.logits[:, -1].argmax(-1)
            for row in sorted(going):
                written[row].append(int(best[row]))
                ends = int(best[row]) == self._tokenizer.eos_token_id
                if ends or "\n" in self._text(written[row]).lstrip():
                    going.discard(row)
            if not going:
                break
            tokens, mask = best[:, None], torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
        return [(self._text(row).strip().split("\n") or [""])[0].strip() for row in written]

    def _check_room(self, tokens: int) -> None:
        if tokens > self._positions:
            raise ModelError(
                f"{self.name}: what is asked takes {tokens} tokens, and it reads "
                f"{self._positions}; give another model, such as smollm2"
            )

    @torch.inference_mode()
    def likelihoods(self, prompt: str, endings: list[str]) -> list[float]:
        """Mean log-likelihood of each ending's tokens after a prompt, in nats, <= 0.

        Parameters
        ----------
        prompt : str
            Read once, whatever the number of endings.
        endings : list of str
            None of them empty.
        """
        read = self._model(input_ids=self._tokens(prompt), use_cache=True)
        first = torch.log_softmax(read.logits[0, -1], -1)
        rows = [self._tokenizer(e, add_special_tokens=False)["input_ids"] for e in endings]
        return [self._likelihood(row, first, read.past_key_values) for row in rows]

    def _likelihood(self, row: list[int], first: Tensor, state: Any) -> float:
        total = float(first[row[0]])
        if len(row) > 1:
            found = self._model(
                input_ids=torch.tensor([row[:-1]]), past_key_values=state, use_cache=True
            )
            logs = torch.log_softmax(found.logits[0], -1)
            total += float(logs[torch.arange(len(row) - 1), torch.tensor(row[1:])].sum())
            state.crop(1 - len(row))  # as it was after the prompt
        return total / len(row)

    def _tokens(self, text: str) -> Tensor:
        """[1, tokens]; of more than the model has positions for, the last."""
        tokens: Tensor = self._tokenizer(text, return_tensors="pt")["input_ids"]
        return tokens[:, -self._positions + 1 :]

    def _text(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    @property
    def _positions(self) -> int:
        return int(getattr(self._model.config, "max_position_embeddings", 1024))


def _padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Rows of tokens with padding on the left, and where there are tokens, int64 [rows, length]."""
    length = max(map(len, rows))
    tokens = [[0] * (length - len(row)) + row for row in rows]
    mask = [[0] * (length - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(tokens), torch.tensor(mask)


def _load(source: BackboneSource) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    pinned = {"revision": source.revision} if source.revision else {}
    place = written_out(source.location, source.digest)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            place, dtype=torch.float32, trust_remote_code=False, output_loading_info=True, **pinned
        )
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{source.location}: cannot be loaded: {first}") from None
    if missing := sorted(report["missing_keys"]):  # an encoder has no head, and writes nothing
        raise ModelError(
            f"{source.location}: lacks {missing[0]} and {len(missing) - 1} others of a "
            f"{type(model).__name__}; give a causal language model, such as smollm2"
        )
    return model.eval()
