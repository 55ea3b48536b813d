"""The page: one document, made here, that works as it stands; a script only saves reloading it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html import escape

from client.person.items import Suggestion, Thing
from client.person.leaving import Leaving
from client.person.person import Person
from client.person.shown import (
    STAYS,
    budget_words,
    in_bytes,
    leaving_words,
    words_of,
)
from client.person.spending import Budget, Spending
from shared.errors import DataError, StarlingError
from shared.privacy.sentences import at_least, at_most, number, unlearned

_FEW, _MANY = 8, 24
_BARS = 5  # parts of a score that are drawn
_WIDE = 100.0  # units of a picture

_FRAME = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="/files/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/files/style.css">
<script src="/files/page.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to what is recommended</a>
<header><h1 class="name"><img src="/files/icon.svg" alt="" width="28" height="28">Starling</h1>
{nav}</header>
{body}
<footer><p>On this device alone: nothing on this page comes from elsewhere.</p></footer>
</body>
</html>
"""
_PARTS = {
    "main": "For you",
    "said": "Your word",
    "leaves": "What leaves",
    "budget": "Budget",
    "control": "Control",
}


@dataclass(frozen=True)
class Asked:
    """What an address of the page asks for.

    Attributes
    ----------
    about : str
        The item that a word was just said on; empty for none.
    find : str
        What is searched for; empty for nothing.
    more : bool
        Whether more is to be recommended than at first.
    """

    about: str = ""
    find: str = ""
    more: bool = False


def page(person: Person, asked: Asked) -> str:
    """The whole page, as it is now."""
    if person.forgotten:
        return _gone(person)
    parts = [
        _or_why("banner", lambda: _banner(person, asked)) if asked.about else _banner_place(""),
        f'<section aria-labelledby="for-you">{_for_you(person, asked)}</section>',
        f'<section aria-labelledby="find">{_search(person, asked)}</section>',
        f'<section aria-labelledby="said">{_said(person)}</section>',
        _section("leaves", "What leaves this device", lambda: _leaves(person.leaves())),
        _section("budget", "Your privacy budget", lambda: _budget(person.budget())),
        _section("control", "Control", lambda: _control(person)),
    ]
    body = f'<main id="main" tabindex="-1">{"".join(parts)}</main>'
    links = "".join(f'<li><a href="#{at}">{name}</a></li>' for at, name in _PARTS.items())
    nav = f'<nav aria-label="On this page"><ul>{links}</ul></nav>'
    return _FRAME.format(title="Starling: for you", nav=nav, body=body)


def _gone(person: Person) -> str:
    """What is left to say once a person was forgotten."""
    body = f"""\
<main id="main" tabindex="-1"><section aria-labelledby="gone"><h2 id="gone">Forgotten</h2>
<p role="status">What you chose and said is deleted from this device, and it takes part in no
further round. What was spent stays on record, because it is spent.</p></section>
{_section("leaves", "What left this device", lambda: _leaves(person.leaves()))}
{_section("budget", "Your privacy budget", lambda: _budget(person.budget()))}</main>"""
    return _FRAME.format(title="Starling: forgotten", nav="", body=body)


def door(why: str = "") -> str:
    """What is shown to a browser that has not shown a secret yet."""
    told = f'<p role="alert">{escape(why)}</p>' if why else ""
    body = f"""\
<main id="main" tabindex="-1"><section aria-labelledby="door"><h2 id="door">Yours alone</h2>{told}
<p>Open the address that <code>starling client page</code> printed, or give what its file holds:</p>
<form method="post" action="/login"><label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required>
<button>Open</button></form></section></main>"""
    return _FRAME.format(title="Starling: open", nav="", body=body)


def failed(why: str) -> str:
    """What could not be done, within the page's frame."""
    body = f"""\
<main id="main" tabindex="-1"><section aria-labelledby="failed">
<h2 id="failed">That did not work</h2><p role="alert">{escape(why)}</p>
<p><a href="./">Back</a></p></section></main>"""
    return _FRAME.format(title="Starling: not done", nav="", body=body)


def _section(name: str, title: str, inside: Callable[[], str]) -> str:
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>'
        f"{_or_why(name, inside)}</section>"
    )


def _or_why(name: str, inside: Callable[[], str]) -> str:
    """A part of the page; where it cannot be shown, why, and the rest stays."""
    try:
        return inside()
    except StarlingError as error:
        return f'<p class="why-not">{escape(str(error))}</p>'


def _banner_place(inside: str) -> str:
    return f'<div id="banner" role="status" tabindex="-1">{inside}</div>'


def _banner(person: Person, asked: Asked) -> str:
    """What was just said, and its undoing."""
    try:
        thing = person.thing(asked.about)
    except DataError:
        return _banner_place("")
    said = {
        True: f"You like <b>{escape(thing.title)}</b>. It counts from now on.",
        False: f"<b>{escape(thing.title)}</b> is not shown again.",
        None: f"Taken back: nothing is kept of your word on <b>{escape(thing.title)}</b>.",
    }[thing.liked]
    undo = "" if thing.liked is None else _feedback(thing, ("undo",), asked.find)
    return _banner_place(f"<p>{said}</p>{undo}")


def _for_you(person: Person, asked: Asked) -> str:
    head = '<h2 id="for-you">For you</h2>'
    return head + _or_why("for-you", lambda: "".join(_shelf(person, asked)))


def _shelf(person: Person, asked: Asked) -> Iterator[str]:
    known = person.knows()
    yield f'<p class="rests">{escape(person.ranks_by)}</p>'
    if not known:
        yield (
            '<p class="hint">This device knows nothing that you chose yet, so this list is the '
            'same for everybody. Say what you like, here or <a href="#find">by searching</a>.</p>'
        )
    found = person.recommend(_MANY if asked.more else _FEW)
    yield f'<ol class="shelf">{"".join(map(_card, found))}</ol>'
    if not asked.more and len(found) == _FEW:
        yield '<p><a class="button" href="./?more=1">Show more</a></p>'
    if known:
        yield f"<h3>In words</h3><p>{escape(person.profile().text)}</p>"


def _card(one: Suggestion) -> str:
    thing = Thing(one.item, one.title, one.about, None)
    about = f'<p class="about">{escape(one.about)}</p>' if one.about else ""
    why = escape("; ".join(one.reasons))
    return f"""\
<li class="card"><h3>{escape(one.title)}</h3>{about}<p class="why">{why[:1].upper()}{why[1:]}.</p>
{_feedback(thing, ("yes", "no"))}
<details><summary>How it was scored<span class="quiet">: {escape(one.title)}</span></summary>
{_parts(one)}</details></li>"""


def _parts(one: Suggestion) -> str:
    """A score as a list of what adds up to it, each with a bar."""
    named = [(title, share) for title, share in one.history[:_BARS]]
    rest = sum(share for _, share in one.history[_BARS:])
    rows = [*named, *([("the rest of what you chose", rest)] if one.history[_BARS:] else [])]
    rows += [("popularity", one.popularity), ("the language model", one.language_model)]
    largest = max(abs(value) for _, value in rows) or 1.0
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{_bar(value / largest)}</td>'
        f'<td class="figure">{value:+.2f}</td></tr>'
        for name, value in rows
    )
    total = f'<tr><th scope="row">in all</th><td></td><td class="figure">{one.score:+.2f}</td></tr>'
    return f'<table class="parts"><tbody>{lines}{total}</tbody></table>'


def _bar(share: float) -> str:
    """From the middle to the right, or to the left where it speaks against."""
    width = abs(share) * _WIDE / 2
    at = _WIDE / 2 if share >= 0 else _WIDE / 2 - width
    kind = "for" if share >= 0 else "against"
    return (
        f'<svg class="bar" viewBox="0 0 {_WIDE:g} 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="{kind}" x="{at:.2f}" width="{width:.2f}" height="8"/></svg>'
    )


_BUTTONS = {
    "yes": ("Like", "M2 10h4v11H2zm6 0 5-8c2 0 3 1 3 3l-1 4h6l-2 10c0 1-1 2-2 2H8z"),
    "no": ("Not for me", "M2 3h4v11H2zm6 11 5 8c2 0 3-1 3-3l-1-4h6L19 5c0-1-1-2-2-2H8z"),
    "undo": ("Undo", "M9 4 2 10l7 6v-4h5a4 4 0 0 1 0 8H9v3h5a7 7 0 0 0 0-14H9z"),
}


def _feedback(thing: Thing, words: Iterable[str], find: str = "") -> str:
    buttons = "".join(
        f'<button name="liked" value="{word}"><svg class="sign" viewBox="0 0 24 24" '
        f'aria-hidden="true"><path d="{sign}"/></svg> {name}'
        f'<span class="quiet">: {escape(thing.title)}</span></button>'
        for word in words
        for name, sign in [_BUTTONS[word]]
    )
    kept = f'<input type="hidden" name="find" value="{escape(find)}">' if find else ""
    return (
        '<form class="word" method="post" action="feedback" data-live>'
        f'<input type="hidden" name="item" value="{escape(thing.item)}">{kept}{buttons}</form>'
    )


def _search(person: Person, asked: Asked) -> str:
    form = f"""\
<h2 id="find">Find something</h2>
<form role="search" action="./" method="get" class="search">
<label for="words">Title or words</label>
<input id="words" name="find" type="search" value="{escape(asked.find)}" maxlength="200">
<button>Search</button></form>"""
    if not asked.find.strip():
        return form
    return form + _or_why("find", lambda: _hits(person.find(asked.find), asked.find))


def _hits(found: list[Thing], words: str) -> str:
    if not found:
        return f"<p>Nothing here has “{escape(words)}” in its text.</p>"
    return f'<ul class="things">{"".join(_thing(one, words) for one in found)}</ul>'


def _thing(one: Thing, find: str = "") -> str:
    about = f' <span class="about">{escape(one.about)}</span>' if one.about else ""
    word = {True: "You like it.", False: "Not for you.", None: ""}[one.liked]
    buttons = ("yes", "no") if one.liked is None else ("undo",)
    return (
        f'<li><p><b>{escape(one.title)}</b>{about} <span class="state">{word}</span></p>'
        f"{_feedback(one, buttons, find)}</li>"
    )


def _said(person: Person) -> str:
    head = '<h2 id="said">Your word</h2>'
    return head + _or_why("said", lambda: _opinions(person))


def _opinions(person: Person) -> str:
    things, known = person.said(), person.knows()
    text = f"<p>This device keeps {known} thing{'s' * (known != 1)} that you chose or liked.</p>"
    if not things:
        return f"{text}<p>You said nothing of any item yet.</p>"
    return f'{text}<ul class="things">{"".join(map(_thing, things))}</ul>'


def _leaves(found: Leaving) -> str:
    words = [escape(word) for word in leaving_words(found) if word != STAYS]
    figure = f'<p class="figure-large">{escape(in_bytes(found.known_bytes))}</p>'
    rows = "".join(
        f"<h3>{escape(part.title)}</h3><dl>"
        + "".join(
            f"<div><dt><code>{escape(row.name)}</code></dt><dd>{escape(row.why)} "
            f'<span class="tag">{escape(row.status)}</span></dd></div>'
            for row in part.leaves
        )
        + "</dl>"
        for part in found.replies
    )
    listed = "".join(f"<li>{word}</li>" for word in words)
    return f"""\
{figure if found.sent else ""}<ul>{listed}</ul><p>{escape(STAYS)}</p>
<details><summary>Every field of every message</summary>{rows}</details>"""


def _budget(spending: Spending) -> str:
    if not spending.budgets:
        return _gauge(0.0, spending.caps.epsilon) + _lines(budget_words(spending))
    kinds = [_gauge(each.spent, each.cap) + _one_budget(each) for each in spending.budgets]
    more = f"At most {spending.caps.rounds_per_day:g} requests a day are answered."
    return "".join(kinds) + f"<p>{more}</p>"


def _one_budget(budget: Budget) -> str:
    plain, risk, *more = words_of(budget)
    return (
        f"<p>{escape(plain)}</p><p>{escape(risk)}</p>"
        f"<details><summary>Against whom, and for what</summary>{_lines(more)}</details>"
    )


def _lines(words: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(word)}</li>' for word in words)}</ul>"


def _gauge(spent: float, cap: float) -> str:
    """What is spent of what is allowed, as a bar, with the same in words."""
    share = min(1.0, spent / cap) if cap > 0 else 1.0
    told = f"ε {at_most(spent)} spent"
    left = "no limit" if cap == float("inf") else f"{at_least(max(0.0, cap - spent))} left"
    of = f"{told}, {left}" + ("" if cap == float("inf") else f", of {number(cap)}")
    return f"""\
<figure class="gauge"><svg viewBox="0 0 {_WIDE:g} 10" preserveAspectRatio="none" role="img" \
aria-label="{of}"><rect class="all" width="{_WIDE:g}" height="10" rx="5"/>\
<rect class="spent" width="{share * _WIDE:.2f}" height="10"/></svg>
<figcaption><span>{told}</span><span>{left}</span></figcaption></figure>"""


def _control(person: Person) -> str:
    spending = person.budget()
    paused = spending.caps.pause
    now = "It is paused: it takes part in nothing." if paused else "It takes part when it is asked."
    other, word = ("no", "Take part again") if paused else ("yes", "Pause")
    stays = "".join(
        f"<p>{escape(unlearned(each.spent, each.guarantee.delta, each.guarantee.unit))}</p>"
        for each in spending.budgets
    )
    return f"""\
<form method="post" action="pause" data-live class="control"><p id="pausing">{now}</p>
<input type="hidden" name="paused" value="{other}">
<button aria-describedby="pausing" class="switch">{word}</button></form>
<div class="control"><p id="exporting">Everything that this device keeps about you, as one file.</p>
<a class="button" href="export.json" download aria-describedby="exporting">Export</a></div>
<details class="forget"><summary>Forget me</summary>
<p>Deletes what you chose and said, and what was learned from it here. It cannot be undone. This
device then takes part in no further round; the record of what was spent stays, because it is
spent.</p>{stays}
<form method="post" action="forget"><p><label>
<input type="checkbox" name="sure" value="yes" required>
I want everything about me on this device deleted</label></p>
<button class="danger">Forget me</button></form></details>"""
