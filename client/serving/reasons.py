"""Why something is recommended, in words: the parts of its score that weigh, largest first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from client.serving.recommend import Recommendation
from client.words.facts import Items, in_common
from client.words.spoken import Case
from client.words.wish import Wish

_SHARE = 0.1  # of all that speaks for an item: what adds less is not a reason
_NAMED = 2  # items of the history at most
_ALIKE = {
    "text": "described alike",
    "categories": "of the same kinds",
    "years": "of the same years",
    "categories x years": "of the same kinds and years",
    "moments": "often chosen by the same people",
}


def reasons(
    one: Recommendation, items: Items, liked: Collection[int], wish: Wish | None = None
) -> tuple[str, ...]:
    """What speaks for an item, at most five phrases; never empty.

    Parameters
    ----------
    one : Recommendation
    items : Items
    liked : collection of int
        Items of the history that the person said they like.
    wish : Wish, optional
        What they asked for.
    """
    own = sum(share for _, share in one.history)
    parts = {"history": own, "popularity": one.popularity, "model": one.language_model}
    speaks = sum(max(0.0, part) for part in parts.values())
    least = _SHARE * speaks
    met = wish.met_by(one.item) if wish else []
    found = [f"as you asked ({', '.join(met)})"] if met else []
    named = wish.named if wish else []
    for name in sorted(parts, key=lambda name: -parts[name]):
        if parts[name] <= 0 or parts[name] < least:
            continue
        if name == "history":
            found += _of_history(one, items, (liked, named), least)
        else:
            found.append(_WORDS[name if one.history else f"{name} alone"])
    return tuple(found) or ("nothing speaks for it in particular; it is the best of the rest",)


_WORDS = {
    "popularity": "popular",
    "popularity alone": "popular",
    "model": "it fits the order of your choices",
    "model alone": "the model's guess for somebody whom it does not know yet",
}


def leading(one: Recommendation) -> list[int]:
    """The items of the history that speak most for an item, at most two, most first."""
    return [item for item, share in one.history[:_NAMED] if share > 0]


def case_of(
    one: Recommendation, items: Items, liked: Collection[int] = (), wish: Wish | None = None
) -> Case:
    """A recommendation as it is explained in a sentence."""
    return Case(one.item, tuple(leading(one)), reasons(one, items, liked, wish))


def weighing(found: Iterable[Recommendation]) -> list[int]:
    """The items of the history that speak most for all that is recommended, most first."""
    total: Counter[int] = Counter()
    for one in found:
        for item, share in one.history:
            total[item] += share  # type: ignore[assignment]  # a Counter of shares
    return [item for item, share in total.most_common() if share > 0]


def _of_history(
    one: Recommendation,
    items: Items,
    said: tuple[Collection[int], Collection[int]],
    least: float,
) -> list[str]:
    """The items that it is most like, and what it is alike in; `said`: what is liked, and named."""
    liked, asked = said
    most = leading(one)
    words = {
        item: "named" if item in asked else "liked" if item in liked else "chose" for item in most
    }
    found = []
    for word in ("named", "liked", "chose"):
        titles = [items[item].title for item in most if words[item] == word]
        found += [f"because you {word} {' and '.join(titles)}"] if titles else []
    kind, share = one.kinds[0] if one.kinds else ("", 0.0)
    if share <= 0 or share < least:
        return found
    return [*found, _ALIKE[kind] + _facts(items, [one.item, *most], kind)]


def _facts(items: Items, alike: Sequence[int], kind: str) -> str:
    """What all of some items have in common of a kind, in parentheses; empty for nothing."""
    common = in_common([items[item] for item in alike]) if len(alike) > 1 else []
    phrases = frozenset.intersection(*(items[item].phrases for item in alike))
    asked = [each for each in common if ("categories" if each in phrases else "years") in kind]
    return f" ({', '.join(asked)})" if asked else ""
