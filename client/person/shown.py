"""What a `Person` answers as plain values, and in words: the same for the commands and the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from client.person.items import Slate, Suggestion
from client.person.leaving import WORDS, Leaving, Sent
from client.person.spending import Budget, Spending
from shared.privacy import sentences

_UNITS = ("bytes", "kB", "MB", "GB")


def told_suggestion(one: Suggestion) -> dict[str, Any]:
    """As JSON has it; the parts of a score add up to it."""
    return dataclasses.asdict(one) | {
        "history": [{"title": title, "share": share} for title, share in one.history],
        "alike": dict(one.alike),
    }


def told_slate(found: Slate) -> dict[str, Any]:
    """As JSON has it: the same of each item, with its position and propensity."""
    rows = zip(found.items, found.propensities, strict=True)
    return {
        "policy": found.policy,
        "strength": found.strength,
        "recommendations": [
            told_suggestion(one) | {"position": place, "propensity": chance}
            for place, (one, chance) in enumerate(rows)
        ],
    }


def told_budget(spending: Spending) -> dict[str, Any]:
    """As JSON has it."""
    caps = spending.caps
    return {
        "caps": dataclasses.asdict(caps),
        "caps_file": str(spending.caps_file) if spending.caps_file else None,
        "agreed": spending.agreed is not None,
        "budgets": [
            {
                "unit": each.guarantee.unit,
                "trust": each.guarantee.trust,
                "adversary": each.guarantee.adversary,
                "delta": each.guarantee.delta,
                "spent": each.spent,
                "cap": each.cap,
                "left": each.left,
                "kinds": [dataclasses.asdict(kind) for kind in each.kinds],
            }
            for each in spending.budgets
        ],
        "words": list(budget_words(spending)),
    }


def budget_words(spending: Spending) -> Iterator[str]:
    """What was spent, and what that says, a line each."""
    caps = spending.caps
    if not spending.budgets:
        yield "This device has taken part in nothing: nothing is spent."
        yield sentences.own_spending(0.0, caps.epsilon, caps.delta)
    for each in spending.budgets:
        yield from words_of(each)
    yield f"At most {caps.rounds_per_day:g} requests a day are answered."
    if caps.pause:
        yield "It is paused: no request is answered."


def words_of(budget: Budget) -> Iterator[str]:
    """Of one budget."""
    told = budget.guarantee
    yield sentences.own_spending(budget.spent, budget.cap, told.delta)
    yield sentences.own_risk(budget.spent, told.delta, told.unit)
    yield f"Counted against {told.adversary}."
    for kind in budget.kinds:
        name = WORDS.get(kind.kind, kind.kind)
        yield f"{name}: {_times(kind.times)}, ε = {sentences.at_most(kind.epsilon)} by itself"


def told_leaving(found: Leaving) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "messages": found.messages,
        "known_bytes": found.known_bytes,
        "sent": [dataclasses.asdict(each) for each in found.sent],
        "replies": [
            {"title": part.title, "rows": [dataclasses.asdict(row) for row in part.leaves]}
            for part in found.replies
        ],
        "words": list(leaving_words(found)),
    }


STAYS = (
    "What you chose, what you said of it, and what is recommended to you stay on this device: no "
    "message has a field for them. What goes out is computed from your choices."
)


def leaving_words(found: Leaving) -> Iterator[str]:
    """What left, a line each, and what stays."""
    if not found.sent:
        yield "Nothing that was made from your choices has left this device."
    else:
        yield f"At most so many contributions went out, by this device's records: {found.messages}."
        yield from map(sent_words, found.sent)
    yield STAYS


def sent_words(sent: Sent) -> str:
    """Of one kind of contribution."""
    size = "of a size that is not known here any more"
    if sent.bytes_each is not None:
        size = f"{in_bytes(sent.bytes_each)} each, {in_bytes(sent.times * sent.bytes_each)} in all"
    return f"{_times(sent.times)} {sent.words}: {size}"


def in_bytes(count: int) -> str:
    """In a unit that people read.

    Examples
    --------
    >>> in_bytes(980), in_bytes(123456)
    ('980 bytes', '123 kB')
    """
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
