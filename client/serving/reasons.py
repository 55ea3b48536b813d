"""Why something is recommended, in words: the parts of its score that weigh, largest first."""

from __future__ import annotations

from collections.abc import Callable, Collection

from client.serving.recommend import Recommendation

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
    one: Recommendation, title: Callable[[int], str], liked: Collection[int]
) -> tuple[str, ...]:
    """What speaks for an item, at most four phrases; never empty.

    Parameters
    ----------
    one : Recommendation
    title : callable
        Of an item.
    liked : collection of int
        Items of the history that the person said they like.
    """
    own = sum(share for _, share in one.history)
    parts = {"history": own, "popularity": one.popularity, "model": one.language_model}
    speaks = sum(max(0.0, part) for part in parts.values())
    least = _SHARE * speaks
    found = []
    for name in sorted(parts, key=lambda name: -parts[name]):
        if parts[name] <= 0 or parts[name] < least:
            continue
        if name == "history":
            found += _of_history(one, title, liked, least)
        else:
            found.append(_WORDS[name if one.history else f"{name} alone"])
    return tuple(found) or ("nothing speaks for it in particular; it is the best of the rest",)


_WORDS = {
    "popularity": "popular",
    "popularity alone": "popular",
    "model": "it fits the order of your choices",
    "model alone": "the model's guess for somebody whom it does not know yet",
}


def _of_history(
    one: Recommendation, title: Callable[[int], str], liked: Collection[int], least: float
) -> list[str]:
    """The items that it is most like, and what it is alike in."""
    leading = [item for item, share in one.history[:_NAMED] if share > 0]
    mine = [title(item) for item in leading if item in liked]
    others = [title(item) for item in leading if item not in liked]
    found = [f"because you liked {' and '.join(mine)}"] if mine else []
    found += [f"because you chose {' and '.join(others)}"] if others else []
    kind, share = one.kinds[0] if one.kinds else ("", 0.0)
    return found + ([_ALIKE[kind]] if share > 0 and share >= least else [])
