"""What a person asks their own device: what it recommends and why, what it spent, what leaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.canonical import document
from shared.errors import ConfigError
from shared.printable import printable

if TYPE_CHECKING:
    from client.person.items import Suggestion
    from client.person.person import Person

_State = Annotated[Path, typer.Option(help="The device's folder (starling client init).")]
_Item = Annotated[str, typer.Argument(help="An item's identifier.")]
_Writer = Annotated[
    str, typer.Option(help="Who writes: template, or a causal language model such as smollm2.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def recommend(
    state: _State,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    explore: Annotated[
        str | None,
        typer.Option(
            help="Choose the slate to learn from it, where the owner allows: NAME or NAME=STRENGTH "
            "of greedy, epsilon_greedy, softmax, stratified, thompson, linucb."
        ),
    ] = None,
    ask: Annotated[
        str, typer.Option(help="In words: something lighter, no horror, from the nineties.")
    ] = "",
    as_json: _AsJson = False,
) -> None:
    """Recommend what the person did not choose yet, and say why.

    With --explore what is shown is kept on the device with the chance it had, and what client
    feedback says of it is learned from; nothing of that leaves the device.
    """
    from client.person.shown import told_slate, told_suggestion

    person = _person(state)
    if explore is not None:
        if ask:
            raise ConfigError(f"--explore {explore}: what --ask asks for is ranked; give one")
        slate = told_slate(person.explore(k, explore))
        if as_json:
            typer.echo(document({"ranks_by": person.ranks_by} | slate))
            return
        _say(person.ranks_by)
        for row in slate["recommendations"]:
            chance = f"chance {row['propensity']:.3g}"
            _say(f"{row['item']}: {row['title']}: {'; '.join(row['reasons'])} ({chance})")
        return
    wish, found = person.ask(ask, k) if ask else (None, person.recommend(k))
    if as_json:
        told = [told_suggestion(one) for one in found]
        page: dict[str, object] = {"ranks_by": person.ranks_by, "recommendations": told}
        typer.echo(document(page | ({"asked": wish.plain()} if wish else {})))
        return
    _say(person.ranks_by)
    for line in wish.told() if wish else ():
        _say(line)
    for one in found:
        _say(f"{one.item}: {one.title}: {'; '.join(one.reasons)}")


def why(item: _Item, state: _State, writer: _Writer = "template", as_json: _AsJson = False) -> None:
    """Say why an item, in a sentence, and what its score is made of, recommended or not."""
    from client.person.shown import told_suggestion
    from client.words.said import said_line, told_said
    from client.words.writer import open_writer

    person = _person(state)
    one, because = person.why(item), person.because(item, open_writer(writer))
    if as_json:
        typer.echo(document(told_suggestion(one) | {"because": told_said(because)}))
        return
    _say(f"{item}: {said_line(because)}")
    for name, share in _parts(one):
        _say(f"{share:+.3f} {name}")
    _say(f"{one.score:+.3f} in all")


def _parts(one: Suggestion) -> list[tuple[str, float]]:
    return [*one.history, ("popularity", one.popularity), ("language model", one.language_model)]


def profile(state: _State, writer: _Writer = "template", as_json: _AsJson = False) -> None:
    """Say the person's taste in words, from what they chose and public texts alone."""
    from client.words.said import said_line, told_said
    from client.words.writer import open_writer

    found = _person(state).profile(open_writer(writer))
    if as_json:
        typer.echo(document(told_said(found)))
        return
    _say(said_line(found))


def feedback(
    item: _Item,
    state: _State,
    like: Annotated[
        bool | None,
        typer.Option("--like/--dislike", help="Count it as chosen, or never show it again."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the word back.")] = False,
    as_json: _AsJson = False,
) -> None:
    """Tell the device what the person thinks of an item."""
    import dataclasses

    if undo == (like is not None):
        raise ConfigError("give one of --like, --dislike and --undo")
    thing = _person(state).feedback(item, None if undo else like)
    if as_json:
        typer.echo(document(dataclasses.asdict(thing)))
        return
    words = {True: "counts as chosen", False: "is not shown again", None: "nothing is kept of it"}
    _say(f"{thing.item}: {thing.title}: {words[thing.liked]}")


def budget(state: _State, as_json: _AsJson = False) -> None:
    """Say what taking part has cost, what is left, and what left the device."""
    from client.person.shown import budget_words, leaving_words, told_budget, told_leaving

    person = _person(state)
    spending, leaves = person.budget(), person.leaves()
    if as_json:
        typer.echo(document(told_budget(spending) | {"leaves": told_leaving(leaves)}))
        return
    for word in (*budget_words(spending), *leaving_words(leaves)):
        _say(word)


def page(
    state: _State,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 0,
) -> None:
    """Show the device's page in a browser on this machine, until ended.

    Prints an address that opens it once; what is in the folder's page-token opens it always.
    """
    import torch

    from client.page.serving import serve

    def told(link: str, programs: str) -> None:
        typer.echo(f"open {link}")
        typer.echo(f"programs: {programs} with the token in {printable(state)}/page-token")

    torch.set_num_threads(1)  # a guest on its person's machine
    serve(_person(state), port, told)


def _person(state: Path) -> Person:
    from client.device.folder import DeviceFolder
    from client.person.person import Person

    folder = DeviceFolder(state)
    folder.owned  # noqa: B018 (refuses a folder that is no device's)
    return Person(folder)


def _say(text: str) -> None:
    typer.echo(printable(text))
