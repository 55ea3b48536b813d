"""The model card: what an adapter is, what is promised of it, what it must not be used for.

What is said of privacy is `shared.privacy.sentences`, of the guarantees that the adapter's file
carries. Whoever made that file wrote them; the card says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.config import ExperimentConfig
from shared.config.places import ELSEWHERE, from_a_place
from shared.errors import ModelError
from shared.printable import printable
from shared.privacy import sentences
from shared.privacy.accounting.meaning import Meaning
from shared.privacy.guarantee import Guarantee, seen_of_each
from shared.privacy.ledger.promise import SEEDED


@dataclass(frozen=True)
class Figure:
    """One metric: name, value, and the ends of its 95% interval, NaN where there is none."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """What a run's results say of its adapter.

    Attributes
    ----------
    data : str
        Name of the log; empty where it is nobody's but the devices'.
    users, items : int
        People and items; 0 where it is not stated.
    figures : tuple of Figure
    released : bool
        Whether the figures are private metrics, which the budget covers; else the evaluator's.
    """

    data: str
    users: int
    items: int
    figures: tuple[Figure, ...]
    released: bool


@dataclass(frozen=True)
class Promised:
    """One guarantee of a file, and what was spent of it; None where devices keep that."""

    guarantee: Guarantee
    epsilon: float | None

    @property
    def most(self) -> float:
        """What was spent, or where that is not said the most that may be."""
        return self.guarantee.budget if self.epsilon is None else self.epsilon

    @classmethod
    def of(cls, told: object, source: str) -> Promised:
        """As a promise states it; a ModelError naming the source if it is none."""
        try:
            tree: Any = dict(told)  # type: ignore[call-overload]  # whatever it is, it is checked
            kept = Guarantee(
                tree["unit"],
                tree["relation"],
                tree["trust"],
                str(tree["adversary"]),
                float(tree["delta"]),
                int(tree["group_size"]),
                float(tree["epsilon_target"]),
            )
            spent = float(tree["epsilon"]) if "epsilon" in tree else None
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{source}: its promise is none ({str(error)[:100]}); take the adapter of a run"
            ) from None
        if spent is not None and not spent > 0:
            raise ModelError(f"{source}: its promise says epsilon = {spent}: expected above 0")
        return cls(kept, spent)


def promised_in(promise: Mapping[str, Any] | None, source: str) -> list[Promised]:
    """The guarantees of a file's promise; none where it carries none."""
    found = (promise or {}).get("guarantees")
    return [Promised.of(told, source) for told in found] if isinstance(found, list) else []


@dataclass(frozen=True)
class Told:
    """All that a card is made of.

    Attributes
    ----------
    name : str
    config : ExperimentConfig
    base : str
        What the base model is called.
    promise : mapping or None
        As the adapter's file carries it.
    measured : Measured or None
    tensors : mapping of str to shape
        What is in the side file.
    use : str
        Python that reads a history.
    """

    name: str
    config: ExperimentConfig
    base: str
    promise: Mapping[str, Any] | None
    measured: Measured | None
    tensors: Mapping[str, tuple[int, ...]]
    use: str


def card(told: Told) -> str:
    """The text of README.md."""
    promised = promised_in(told.promise, told.name)
    sections = {
        "What is promised": _promise(told, promised),
        "What no budget covers": _uncovered(told, promised),
        "What it must not be used for": _not_for(told),
        "What it was trained on": _data(told),
        "How well it ranks": _figures(told.measured),
        "How to read a history with it": [f"```python\n{told.use}```", *_differs(told)],
        "What is in the folder": _files(told),
    }
    lines = [_header(told), f"# {_text(told.name)}", _lead(told)]
    for heading, found in sections.items():
        lines += [f"## {heading}", *found] if (found := list(found)) else []
    return "\n\n".join(lines) + "\n"


def _header(told: Told) -> str:
    from huggingface_hub import ModelCardData

    hub = re.fullmatch(r"[\w.-]+/[\w.-]+", told.base)
    tags = ["starling", "lora", "federated-learning", "recommendation"]
    if any(math.isfinite(each.most) for each in promised_in(told.promise, told.name)):
        tags.append("differential-privacy")
    data = ModelCardData(
        base_model=told.base if hub else None,
        library_name="peft",
        pipeline_tag="feature-extraction",
        tags=tags,
    )
    return f"---\n{data.to_yaml().strip()}\n---"


def _lead(told: Told) -> str:
    model = told.config.model
    layers = {0: "all its layers", 1: "its first layer"}.get(
        model.layers, f"its first {model.layers} layers"
    )
    return (
        f"A LoRA of rank {model.lora_rank} on {_text(told.base)} ({layers}), trained by federated "
        f"learning ({told.config.federation.aggregation}) to recommend: the model reads a history "
        "of item vectors, not words. Made by Starling."
    )


def _promise(told: Told, promised: list[Promised]) -> Iterator[str]:
    private = [each for each in promised if math.isfinite(each.most)]
    if not private:
        yield sentences.of_a_file("nothing")
        return
    yield sentences.of_a_file("told")
    rows = [
        (
            each.guarantee.unit,
            f"{'at most ' if each.epsilon is None else ''}{sentences.at_most(each.most)}",
            sentences.number(each.guarantee.delta),
            str(each.guarantee.group),
            each.guarantee.relation,
            each.guarantee.trust,
            each.guarantee.adversary,
        )
        for each in private
    ]
    yield _table(("unit", "ε", "δ", "units together", "relation", "trust", "adversary"), rows)
    if len({each.guarantee.unit for each in private}) > 1:
        yield sentences.two_budgets()
    for each in private:
        kept = each.guarantee
        yield sentences.unit_of(kept.unit)
        yield sentences.neighbours(kept.unit, kept.relation)
        if kept.group > 1:
            yield sentences.covers(kept.group)
        yield sentences.odds(Meaning(each.most, kept.delta, None, kept.group, {}, ()))
    if told.config.privacy.mechanism == "dp_ftrl":
        yield sentences.scheduled()


def _uncovered(told: Told, promised: list[Promised]) -> Iterator[str]:
    private = [each for each in promised if math.isfinite(each.most)]
    if not private:
        return
    if (told.promise or {}).get("noise") == SEEDED:
        yield sentences.seeded()
    if told.config.model.start is not None:
        yield sentences.begun(str(told.config.model.start_sha256))
    model = told.config.model
    if from_a_place(model.backbone, model.backbone_sha256):
        yield sentences.encoded(ELSEWHERE["reader"], model.backbone_sha256 or "not stated")
    for trust in dict.fromkeys(each.guarantee.trust for each in private):
        seen = [each.guarantee.adversary for each in private if each.guarantee.trust == trust]
        bare = not all(seen_of_each(words)[1] > 1 for words in seen)
        yield sentences.server_sees(trust, in_clear=bare)
    yield sentences.several()
    yield sentences.population()
    if {each.guarantee.trust for each in private} != {"distributed"}:
        yield sentences.floating()


def _not_for(told: Told) -> Iterator[str]:
    told_by = "its numbers are of items by their place in the catalogue that it was trained on"
    catalogue = told.config.data.catalogue
    of = f" (SHA-256 {catalogue})" if catalogue else ""
    yield (
        "- Anything but ranking items: it was never trained on words, and no text that the base "
        "model writes with it means anything.\n"
        f"- Another catalogue: {told_by}{of}.\n"
        "- Decisions about a person, or conclusions about who somebody is: a score says what "
        "people with like histories chose next, no more.\n"
        "- As evidence of what is promised: that is the run's folder, checked with `starling "
        "verify`, and not this page."
    )


def _data(told: Told) -> Iterator[str]:
    measured = told.measured
    simulated = (told.promise or {}).get("noise") == SEEDED
    spec = told.config.data.spec.rstrip("/").rpartition("/")[2]
    # A server's settings name a log, too, and nothing was read of it but the items.
    name = (measured.data if measured else spec) if simulated else ""
    counts = ((measured.users, "people"), (measured.items, "items")) if measured else ()
    found = ", ".join(f"{number} {what}" for number, what in counts if number)
    yield f"{_text(name) or 'What people had on their own devices'}{found and f': {found}'}."
    if measured is None:
        yield "The run's results were not beside the adapter: no more is known."


def _figures(measured: Measured | None) -> Iterator[str]:
    if measured is None:
        return
    if not measured.figures:
        yield "No figure was released."
        return
    rows = [
        (
            each.name,
            f"{each.value:.4f}",
            "-" if math.isnan(each.low) else f"{each.low:.4f} to {each.high:.4f}",
        )
        for each in measured.figures
    ]
    yield _table(("metric", "value", "95% interval"), rows)
    yield sentences.of_a_file("noised") if measured.released else sentences.evaluators()


def _differs(told: Told) -> Iterator[str]:
    if told.config.model.weights != "full":
        yield (
            f"It was trained on base weights in {told.config.model.weights}; on full ones the "
            "states are near those, not the same."
        )
    if told.config.federation.aggregation == "fedsa":
        yield (
            "Under `fedsa` every device keeps a B of its own, and none is here: B is the one that "
            "all began with, which corrects nothing."
        )


def _files(told: Told) -> Iterator[str]:
    rows = [(f"`{name}`", str(list(shape))) for name, shape in sorted(told.tensors.items())]
    yield (
        "`adapter_config.json` and `adapter_model.safetensors` are PEFT's. `starling.safetensors` "
        "holds what PEFT has no place for; docs/adapters.md of Starling says what each is."
    )
    yield _table(("tensor of starling.safetensors", "shape"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(map(_text, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(told: str) -> str:
    """Words that may not be ours, in one line that is neither markup nor a link."""
    return re.sub(r"([|<>\[\]\\*#])", r"\\\1", printable(told))
