"""The rules that only choose what is trained, and the factors that they choose among, by name.

A layer's correction is s B A x, or s B R A x where it has a core: A [r, in] reads down to r
numbers, R [r, r] turns them, B [out, r] writes them up. Whatever these rules train is summed and
noised as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.aggregation.rule import AggregationRule, Names

_DOWN = re.compile(r"\.lora_A\.[^.]+\.weight$")
_UP = re.compile(r"\.lora_B\.[^.]+(\.up)?\.weight$")
_ITEM_UP = re.compile(r"^item_(up|down)\.weight$")
_CORE = re.compile(r"\.lora_B\.[^.]+\.core\.weight$")


def downs(names: Sequence[str]) -> tuple[str, ...]:
    """The factors A."""
    return tuple(name for name in names if _DOWN.search(name))


def ups(names: Sequence[str]) -> tuple[str, ...]:
    """The factors B."""
    return tuple(name for name in names if _UP.search(name))


def cores(names: Sequence[str]) -> tuple[str, ...]:
    """The cores R."""
    return tuple(name for name in names if _CORE.search(name))


def item_ups(names: Sequence[str]) -> tuple[str, ...]:
    """What turns the item table's r numbers of an item into a vector, and a state into r numbers.

    They are B and B' of the correction B A; the numbers of the items, its A, are `item_in`.
    """
    return tuple(name for name in names if _ITEM_UP.search(name))


def item_readers(names: Sequence[str]) -> tuple[str, ...]:
    """What turns a state into the r numbers that meet an item's: its B'."""
    return tuple(name for name in names if name == "item_down.weight")


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Names of (A, B) of every layer."""
    return list(zip(downs(names), ups(names), strict=True))


class FedIT(AggregationRule):
    """FedIT: the factors A and B of every LoRA pair are summed, each on its own.

    Everything is trained in every round.

    The mean of products is not the product of means; over clients i with factors A_i, B_i

        mean(B_i A_i) - mean(B_i) mean(A_i) = mean((B_i - mean(B)) (A_i - mean(A)))

    is the error, the price of updating both factors at once.

    References
    ----------
    Zhang et al. 2024, Towards Building the Federated GPT: Federated Instruction Tuning.
    """

    name = "fedit"


class FFA(AggregationRule):
    """FFA-LoRA: A stays as it was drawn, B alone is trained.

    A is fixed: every device draws the same from `model.seed`, so it never travels.

    With one A for all, sum_i B_i A = (sum_i B_i) A: the sum of factors is the sum of products.
    Noise enters the product once, as N A, and not also as B N' and N N'.

    References
    ----------
    Sun, Li, Li, Ding 2024, Improving LoRA in Privacy-preserving Federated Learning (ICLR).
    https://arxiv.org/abs/2403.12313
    """

    name = "ffa"

    def fixed(self, names: Sequence[str]) -> Names:
        """Every A."""
        return downs(names)


class Alternating(AggregationRule):
    """Alternating factors (RoLoRA): a round trains B or A of every pair, never both.

    B in odd rounds, A in even ones.

    With one of the two the same for all, the sum of factors is the sum of products, as under FFA,
    but over two rounds both factors learn. B comes first: it starts at zero, and while it is zero
    A has no gradient.

    References
    ----------
    Chen et al. 2025, Robust Federated Finetuning of LLMs via Alternating Optimization of LoRA
    (RoLoRA). https://arxiv.org/abs/2502.01755
    """

    name = "alternating"

    def trained(self, names: Sequence[str], round_number: int) -> Names:
        """Everything but the factors whose turn it is not."""
        waiting = {*(downs(names) if round_number % 2 else ups(names))}
        return tuple(name for name in self.moving(names) if name not in waiting)


class FedSB(AggregationRule):
    """Fed-SB: an r x r core R between a frozen A and a frozen B is all that is trained of a pair.

    A and B are the backbone's own directions: every device computes them, they never travel.

        W x + s B R A x        W ~ U S V' of rank r:  A = V', B = U S, from the frozen weights alone

    sum_i B R_i A = B (sum_i R_i) A: exact, whatever else is trained, and r^2 numbers a layer
    instead of r (in + out). Needs no data to begin with, so nothing of anybody's is spent on it.
    (The paper takes B and A from a first gradient on data instead; that would be a release.)

    References
    ----------
    Singhal et al. 2025, Fed-SB: A Silver Bullet for Extreme Communication Efficiency and
    Performance in (Private) Federated LoRA Fine-Tuning. https://arxiv.org/abs/2502.15436
    Balazy et al. 2024, LoRA-XS. https://arxiv.org/abs/2405.17604
    """

    name = "fedsb"

    def fixed(self, names: Sequence[str]) -> Names:
        """Every A and B."""
        return (*downs(names), *ups(names))


class FedSA(AggregationRule):
    """FedSA-LoRA: A is shared, every device keeps a B of its own.

    B of every pair is personal, and what plays its part in the item table's correction.

    A learns what serves everyone, B what is one person's. B never leaves its device: it is neither
    clipped nor noised nor uploaded, and it costs no privacy however long it is trained. What
    leaves is the update of A (and of what is no factor), clipped and noised alone.

    The guarantee is that of the other rules. A person's B acts on the released sums through that
    person's own clipped contributions alone, and these may depend on anything that was released
    before and on anything that person's device holds.

    A B of zero gives A no gradient: with one local step a device's first round trains its B alone.

    References
    ----------
    Guo, Zeng, Wang, Fan, Wang, Qu 2025, Selective Aggregation for Low-Rank Adaptation in Federated
    Learning (ICLR). https://arxiv.org/abs/2410.01463
    """

    name = "fedsa"

    def personal(self, names: Sequence[str]) -> Names:
        """Every B, the item table's two among them."""
        return tuple(sorted((*ups(names), *item_ups(names))))


class Principal(AggregationRule):
    """Principal: what reads is fixed to public directions, and only what writes is trained.

    A and B' are the frozen weights' own: every device computes them, they never travel.

        W ~ U S V' of rank r:  A = V'        correction s B A, B trained from zero
        E ~ U S V' of rank r:  B' = sqrt(items) S^-1 V'    scores a_i . B' g, a_i trained from zero

    FFA with three differences that matter under noise. A is where the frozen weights are large
    instead of where chance fell. The item table, which FFA trains in both factors, keeps its B'
    too: a state is read as its leading text components, each of unit spread over the items, and
    every item learns r numbers about them. And the input is not corrected: x is the frozen text
    vector, so what is noised enters the scores alone.

    Directions of frozen weights and texts cost no privacy. With one A and one B' for all, sums of
    factors are sums of products.

    References
    ----------
    Sun, Li, Li, Ding 2024, Improving LoRA in Privacy-preserving Federated Learning (ICLR): one
    factor fixed. https://arxiv.org/abs/2403.12313
    Balazy, Banaei, Aberer, Tabor 2024, LoRA-XS: singular directions of the frozen weights.
    https://arxiv.org/abs/2405.17604
    Meng, Wang, Zhang 2024, PiSSA: adapters that begin at principal directions.
    https://arxiv.org/abs/2404.02948
    """

    name = "principal"

    def fixed(self, names: Sequence[str]) -> Names:
        """Every A, and the item table's B'."""
        return (*downs(names), *item_readers(names))
