"""What is said from templates, and what stands in its place where a language model wrote it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from client.words.check import Checker, Finding
from client.words.facts import Facts

_NAMED = 3  # of each list
_LEAST = 3  # titles, kinds, years that a generated profile has to hold; the template says more
TEMPLATE = "template"


@dataclass(frozen=True)
class Said:
    """A text about a person, and who wrote it.

    Attributes
    ----------
    text : str
        Every sentence of it passed the check, or it is the template's.
    by : str
        `template`, or the model that wrote all of it.
    refused : tuple of Finding
        Sentences of the model that are not shown, and what is wrong with them.
    """

    text: str
    by: str = TEMPLATE
    refused: tuple[Finding, ...] = ()


def said(template: str, checker: Checker, draft: str, by: str, about: Collection[str] = ()) -> Said:
    """A draft's sentences that pass the check, or the template where they say too little.

    Parameters
    ----------
    template : str
    checker : Checker
    draft : str
        What a language model wrote.
    by : str
        Which model.
    about : collection of str, optional
        Titles one of which a sentence has to name, or it says nothing. By default any fact will do,
        and there have to be three.
    """
    kept, refused, claims = [], [], 0
    for each in checker.findings(draft):
        says = bool(set(each.titles) & set(about)) if about else each.claims > 0
        wrong = each.wrong or ("" if says else "says nothing of these items")
        if wrong or each.sentence in kept:
            refused.append(Finding(each.sentence, wrong or "is said twice", each.titles))
        else:
            kept.append(each.sentence)
            claims += each.claims
    if not kept or (not about and claims < _LEAST):
        return Said(template, refused=tuple(refused))
    return Said(" ".join(kept), by, tuple(refused))


def profile(facts: Facts, weighing: Iterable[str] = ()) -> str:
    """A person's taste as a paragraph of counts; the same for the same history.

    Parameters
    ----------
    facts : Facts
    weighing : iterable of str, optional
        Titles that weigh most in what is recommended, most first.
    """
    return " ".join(profile_sentences(facts, weighing))


def profile_sentences(facts: Facts, weighing: Iterable[str] = ()) -> list[str]:
    """The sentences of `profile`."""
    count = len(facts.items)
    if not count:
        return ["Nothing is known yet: there is no choice to go by."]
    found = [f"You chose {count} title{'s' * (count > 1)}."]
    if leading := counted(facts.attributes):
        found.append(f"The most frequent kinds are {leading}.")
    if eras := counted((f"{decade}s", n) for decade, n in facts.decades):
        found.append(f"By decade: {eras}.")
    if facts.marked:
        counts = dict(facts.attributes)
        own = counted((phrase, counts[phrase]) for phrase, _ in facts.marked)
        found.append(f"Compared with the catalogue, more of {own}.")
    found.append(f"Lately you chose {listed(item.title for item in facts.recent[:_NAMED])}.")
    if named := listed(list(weighing)[:_NAMED]):
        found.append(f"What weighs most in what is recommended: {named}.")
    return found


def counted(entries: Iterable[tuple[str, int]]) -> str:
    """The first three as words, each with its count in parentheses."""
    return listed(f"{name} ({count})" for name, count in list(entries)[:_NAMED])


def listed(names: Iterable[str]) -> str:
    """As words: a, b and c."""
    *first, last = [*names] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def told_said(found: Said) -> dict[str, object]:
    """As JSON has it."""
    refused = [{"sentence": each.sentence, "wrong": each.wrong} for each in found.refused]
    return {"text": found.text, "by": found.by, "refused": refused}


def said_line(found: Said) -> str:
    """The text, and who wrote it."""
    dropped = len(found.refused)
    if found.by != TEMPLATE:
        more = f"; {dropped} failed and is left out" if dropped else ""
        return f"{found.text} (written by {found.by}; every sentence passed the check{more})"
    if dropped:
        failed = f"{dropped} generated sentence{'s' * (dropped > 1)} failed the check"
        return f"{found.text} (the template's: {failed}, and the rest said too little)"
    return f"{found.text} (the template's)"
