"""`starling evaluate`, `recommend` and `export`: use an adapter that a run released."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shared.canonical import document
from shared.errors import ConfigError
from shared.printable import printable
from simulations.commands.options import sources, takes
from simulations.commands.trained.tastes import Writer

if TYPE_CHECKING:
    from client.serving.adapters import Trained
    from client.serving.recommend import Recommendation
    from shared.data.catalogue import Catalogue
    from simulations.api.trained import Tried

_Data = Annotated[str, typer.Option(help="world, a known name, or a path.", autocompletion=sources)]
_Columns = Annotated[
    str | None, typer.Option(help="What its files call them: user=userId,item=movieId.")
]
_Adapter = Annotated[Path, typer.Option(help="DIR/adapters/NAME.safetensors of a run.")]
_Users = Annotated[
    int | None, typer.Option(min=1, help="Only N of the users; default: as trained.")
]
_Seed = Annotated[
    int | None, typer.Option(min=0, help="Of the synthetic world; default: as trained.")
]
_OffPolicy = Annotated[
    Path | None,
    typer.Option(help="A log of what was shown, to value --policy by (docs/off-policy.md)."),
]
_Policy = Annotated[
    str | None,
    typer.Option(help="uniform (default), popularity, another log, or an adapter's file."),
]
_Temperature = Annotated[
    float | None, typer.Option(help="That an adapter's scores are divided by; default 1.")
]
_Effects = Annotated[
    bool, typer.Option("--effects", help="What showing each item does, of --off-policy LOG.")
]
_AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@dataclass(frozen=True)
class Evaluated:
    """The options of `starling evaluate`."""

    data: _Data | None = None
    adapter: _Adapter | None = None
    phase: Annotated[
        Literal["test", "validation"] | None, typer.Option(help="Held-out item; test by default.")
    ] = None
    users: _Users = None
    columns: _Columns = None
    world_seed: _Seed = None
    off_policy: _OffPolicy = None
    policy: _Policy = None
    temperature: _Temperature = None
    effects: _Effects = False
    as_json: _AsJson = False


@takes(Evaluated)
def evaluate_adapter(given: Evaluated) -> None:
    """Rank held-out items with an adapter, or value a policy by a log of what was shown."""
    from simulations.show import waiting

    if given.off_policy is not None:
        _value(given, given.off_policy)
        return
    _check_ranking(given)

    with waiting(f"ranking with {given.adapter}"):
        from simulations.api.trained import evaluated

        found = evaluated(_tried(given), given.phase or "test")
    if given.as_json:
        typer.echo(document(found))
    else:
        _show_metrics(found)


def _value(given: Evaluated, log: Path) -> None:
    from simulations.show import waiting

    ranking = ("data", "adapter", "phase", "users", "columns", "world_seed")
    other = next((name for name in ranking if getattr(given, name) is not None), None)
    if other is not None:
        raise ConfigError(
            f"--off-policy {log} goes without --{other.replace('_', '-')}: the log is the data, "
            "and an adapter is a --policy"
        )
    if given.effects:
        _show_effects(given, log)
        return
    with waiting(f"valuing by {log}"):
        from simulations.api.offpolicy import value_policy
        from simulations.commands.trained.offpolicy import show_value

        temperature = 1.0 if given.temperature is None else given.temperature
        found = value_policy(log, "uniform" if given.policy is None else given.policy, temperature)
    show_value(found, log, as_json=given.as_json)


def _show_effects(given: Evaluated, log: Path) -> None:
    from simulations.commands.trained.offpolicy import show_effects
    from simulations.offpolicy import item_effects, read_feedback
    from simulations.show import waiting

    for name in ("policy", "temperature"):
        if (value := getattr(given, name)) is not None:
            raise ConfigError(f"--{name} {value}: goes without --effects, which is of single items")
    with waiting(f"reading {log}"):
        read = read_feedback(log)
        found = item_effects(read)
    show_effects(found, read, as_json=given.as_json)


def _check_ranking(given: Evaluated) -> None:
    """Whether all is given that ranking needs, and nothing that it does not."""
    for name in ("policy", "temperature"):
        if (value := getattr(given, name)) is not None:
            raise ConfigError(f"--{name} {value}: is of --off-policy LOG, which is missing")
    if given.effects:
        raise ConfigError("--effects: is of --off-policy LOG, which is missing")
    for name in ("data", "adapter"):
        if getattr(given, name) is None:
            raise ConfigError(
                f"--{name} is missing; give both --data and --adapter, or --off-policy"
            )


def _show_metrics(found: dict[str, Any]) -> None:
    from shared.data.protocol import FULL, negatives_in_words
    from shared.privacy import sentences
    from simulations.show import figures, show_table
    from simulations.summary import interval_of

    metrics = found["metrics"]
    rows = []
    for name, value in metrics.items():
        if name != "users" and not name.endswith("_se"):
            over = interval_of(metrics, name)
            told = "-" if over is None else f"{over[0]:.4f} to {over[1]:.4f}"
            rows.append((name, f"{value:.4f}", told))
    count = metrics["users"]
    title = f"{found['data']}, {found['phase']}, {count:.0f} user{'s' * (count != 1)}"
    show_table(("metric", *figures("value", "95% over users")), rows, title)
    typer.echo(f"HR, NDCG and MRR are {negatives_in_words(found)}; full: {FULL}.")
    for warning in found["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(sentences.measured())
    _show_promise(found)


def _show_promise(found: dict[str, Any]) -> None:
    from shared.privacy.ledger.promise import in_words
    from simulations.show import show_line

    typer.echo(in_words(found["promise"]))
    if "note" in found:
        show_line(found["note"])


@dataclass(frozen=True)
class Asked:
    """The options of `starling recommend`."""

    data: _Data
    adapter: _Adapter
    user: Annotated[
        str | None, typer.Option(help="A user of the log, by identifier; default: somebody new.")
    ] = None
    ask: Annotated[
        str, typer.Option(help="In words: something lighter, no horror, from the nineties.")
    ] = ""
    k: Annotated[int, typer.Option("-k", help="How many items.")] = 10
    explain: Annotated[bool, typer.Option("--explain", help="Say why.")] = False
    writer: Writer = "template"
    users: _Users = None
    columns: _Columns = None
    world_seed: _Seed = None
    as_json: _AsJson = False


@takes(Asked)
def recommend_items(asked: Asked) -> None:
    """Recommend items to one user, and say why."""
    from simulations.show import show_line, waiting

    if asked.writer != "template" and not asked.explain:
        raise ConfigError(f"--writer {asked.writer}: writes why; give --explain with it")
    with waiting(f"ranking with {asked.adapter}"):
        from client.words.said import said_line, told_said
        from shared.privacy.ledger.promise import read_promise
        from simulations.api.tastes import explained
        from simulations.api.trained import NOT_VERIFIED, recommended

        found = recommended(_tried(asked), asked.user, asked.k, asked.ask)
        because = explained(found, asked.writer)
    catalogue, page = found.people.catalogue, dict[str, Any](user=asked.user)
    page["recommendations"] = [
        _plain(one, catalogue) | {"because": told_said(said)}
        for one, said in zip(found.items, because, strict=True)
    ]
    page |= {"asked": found.wish.plain()} if asked.ask else {}
    page |= {"promise": read_promise(asked.adapter), **NOT_VERIFIED}
    page |= {"note": found.note} if found.note else {}
    if asked.as_json:
        typer.echo(document(page))
        return
    for line in found.wish.told() if asked.ask else ():
        show_line(line)
    _show_items(found.items, catalogue, asked, found.people.name)
    if asked.explain:
        for said in because:
            show_line(said_line(said))
        typer.echo(_note(found.trained))
    _show_promise(page)


def _tried(given: Evaluated | Asked) -> Tried:
    from simulations.api.trained import Tried

    return Tried(given.adapter or Path(), given.data, given.columns, given.users, given.world_seed)


def _show_items(found: list[Recommendation], catalogue: Catalogue, asked: Asked, name: str) -> None:
    from simulations.show import figures, show_table

    why = ("why",) if asked.explain else ()
    rows = [
        (catalogue.texts[one.item], f"{one.score:.2f}", _why(one, catalogue))[: 2 + len(why)]
        for one in found
    ]
    columns = ("item", *figures("score"), *why)
    who = "somebody new" if asked.user is None else f"user {asked.user} of {name}"
    show_table(columns, rows, f"For {who}")


_ALIKE = {
    "text": "text",
    "categories": "categories",
    "years": "era",
    "categories x years": "categories of an era",
    "moments": "what people have together",
}


def _why(one: Recommendation, catalogue: Catalogue) -> str:
    liked = [f"{catalogue.texts[item]} {share:+.2f}" for item, share in one.history[:3]]
    rest = sum(share for _, share in one.history[3:])
    parts = [*liked, f"rest of the history {rest:+.2f}"] if liked else []
    alike = [f"{_ALIKE[kind]} {share:+.2f}" for kind, share in one.kinds if share]
    parts += [f"of these, by {', '.join(alike)}"] if liked and len(alike) > 1 else []
    parts += [f"popularity {one.popularity:+.2f}", f"language model {one.language_model:+.2f}"]
    parts += [f"as asked {one.asked:+.2f}"] if one.asked else []
    return "; ".join(parts)


def _note(trained: Trained) -> str:
    return (
        "The parts of a line add up to its score. Item texts: what their likeness to the "
        f"candidate adds, of the last {trained.config.model.max_length} of the history; "
        "then the same by what they are alike in. "
        "Popularity: the item's bias. Language model: what reading the history in order adds, "
        "not taken apart."
    )


def _plain(one: Recommendation, catalogue: Catalogue) -> dict[str, object]:
    return {
        "item": catalogue.item_ids[one.item],
        "text": catalogue.texts[one.item],
        "score": one.score,
        "popularity": one.popularity,
        "language_model": one.language_model,
        "asked": one.asked,
        "history": [
            {"item": catalogue.item_ids[item], "text": catalogue.texts[item], "share": share}
            for item, share in one.history
        ],
        "alike": dict(one.kinds),
    }


def export_adapter(
    adapter: Annotated[Path, typer.Argument(help="DIR/adapters/NAME.safetensors of a run.")],
    directory: Annotated[Path, typer.Argument(help="A new folder.")],
    to: Annotated[Literal["peft"], typer.Option(help="What is to load it: peft.")],
    base: Annotated[
        str, typer.Option(help="The base model on the hub, where the run names a folder.")
    ] = "",
    as_json: _AsJson = False,
) -> None:
    """Write an adapter for plain transformers and peft, with a model card.

    What PEFT has no place for lies beside it in starling.safetensors.
    """
    from simulations.show import waiting

    with waiting(f"reading {adapter}"):
        from simulations.exported import export_peft

        made = export_peft(adapter, directory, base)
    if as_json:
        typer.echo(document({"folder": str(made), "to": to}))
        return
    typer.echo(f"{printable(made)}: for peft; read its README.md before it is handed on")
