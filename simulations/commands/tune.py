"""`starling tune`: settings searched where that costs no budget, or all of it in one."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.canonical import document
from shared.errors import ConfigError
from shared.printable import shell_word
from simulations.commands import options
from simulations.commands.options import presets, sources, takes

if TYPE_CHECKING:
    from simulations.tune import Search, Tried, TuneFolder

_SHOWN = 10  # trials of a table; trials.json has all
_TRIALS, _PRIVATE_TRIALS = 20, 4


@dataclass(frozen=True)
class Asked:
    """The options of `starling tune`."""

    data: Annotated[
        str | None,
        typer.Option(
            help="world, a known name, or a path; default: world.", autocompletion=sources
        ),
    ] = None
    public: Annotated[
        bool,
        typer.Option(
            "--public", help="State that the log is public, or not of a later run's people."
        ),
    ] = False
    private: Annotated[
        bool,
        typer.Option(
            "--private", help="Each trial is a run on these people, all of them in one budget."
        ),
    ] = False
    users: Annotated[int | None, typer.Option(min=1, help="Only N of the users.")] = None
    columns: Annotated[str | None, typer.Option(help="What its files call them.")] = None
    config: Annotated[Path | None, typer.Option(help="Settings to begin from, a TOML file.")] = None
    preset: Annotated[
        str | None, typer.Option(help="Committed settings to begin from.", autocompletion=presets)
    ] = None
    vary: Annotated[
        str | None,
        typer.Option(help="section.name=LOW..HIGH or section.name=A|B, with commas."),
    ] = None
    epsilon: Annotated[
        float | None,
        typer.Option(help="Budget of every trial; with --private of all together; default: 8."),
    ] = None
    metric: Annotated[str | None, typer.Option(help="On validation items; default: ndcg@10.")] = (
        None
    )
    trials: Annotated[
        int | None,
        typer.Option(help="How many, those made before included; default: 20, --private: 4."),
    ] = None
    seeds: Annotated[str | None, typer.Option(help="Each trial is the mean over; default: 0.")] = (
        None
    )
    seed: Annotated[int | None, typer.Option(min=0, help="Of what is tried; default: 0.")] = None
    out: Annotated[Path | None, typer.Option(help="A new folder; default: runs/tune-DATA.")] = None
    resume: Annotated[Path | None, typer.Option(help="Go on with the search in this folder.")] = (
        None
    )
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False


@takes(Asked, {"data": "data.spec", "epsilon": "sweep.epsilons"})
def tune(asked: Asked) -> None:
    """Search settings on the synthetic world, or on a log that is public; by validation alone.

    On people's own log with --private: by released figures, and what all trials cost is stated.

    Writes what was tried and the best settings: starling simulate --config DIR/best.toml.
    """
    _check_resumed(asked)
    try:
        import optuna  # noqa: F401 (whether it is there)
    except ImportError:
        raise ConfigError(
            "starling tune: needs the package optuna; install it: pip install -e '.[tune]'"
        ) from None
    from simulations.tune import TuneFolder

    logging.getLogger("flwr").setLevel(logging.WARNING)  # progress tells what its log would
    folder = TuneFolder(asked.resume or asked.out or _default(asked))
    chosen = folder.asked() if asked.resume else _search(asked)
    try:
        found = _found(chosen, asked, folder)
    except KeyboardInterrupt as stopped:
        if folder.search.exists():
            stopped.add_note(f"continue: starling tune --resume {shell_word(folder.path)}")
        raise
    _answer(asked, chosen, found, folder)


def _found(chosen: Search, asked: Asked, folder: TuneFolder) -> list[Tried]:
    from simulations.tune import planned_trials, search, search_private

    say = _nothing if asked.quiet else _say
    if not chosen.private:
        return search(chosen, _TRIALS if asked.trials is None else asked.trials, folder, say)
    if not asked.resume:
        trials = _PRIVATE_TRIALS if asked.trials is None else asked.trials
        return search_private(chosen, trials, folder, say)
    planned = planned_trials(folder)
    if asked.trials not in (None, planned):
        raise ConfigError(
            f"--trials {asked.trials}: a private search keeps the {planned} that its budget was "
            "divided by"
        )
    return search_private(chosen, planned, folder, say)


def _check_resumed(asked: Asked) -> None:
    if asked.resume is None:
        return
    usual = Asked()
    for name, value in vars(asked).items():
        if name not in ("resume", "trials", "quiet", "as_json") and value != getattr(usual, name):
            raise ConfigError(f"--resume and --{name}: a search goes on as it was begun; give one")


def _search(asked: Asked) -> Search:
    from shared.config import from_dict, load_toml
    from shared.config.presets import override, preset_file
    from simulations.api.settings import PRESET
    from simulations.tune import DEFAULT, Search, space_of

    if asked.public and asked.private:
        raise ConfigError("--public and --private: a log that is public costs no budget; give one")
    if asked.config is not None and asked.preset is not None:
        raise ConfigError("--config and --preset: give one of them")
    file = asked.config or preset_file(asked.preset or PRESET)
    tree = load_toml(file)
    from_dict(tree, source=str(file))  # its own mistakes, before flags replace anything
    tree.pop("sweep", None)  # of a trial there is one point
    flags: dict[str, Any] = {
        "data.spec": asked.data or tree.get("data", {}).get("spec", "world"),
        **{f"data.{name}": vars(asked)[name] for name in ("users", "columns") if vars(asked)[name]},
    }
    override(tree, flags, preset=asked.config is None)
    seeds = [int(each) for each in options.numbers("--seeds", asked.seeds or "0", int)]
    return Search(
        tree,
        space_of(DEFAULT if asked.vary is None else asked.vary),
        8.0 if asked.epsilon is None else asked.epsilon,
        tuple(seeds),
        asked.metric or "ndcg@10",
        asked.seed or 0,
        asked.public,
        asked.private,
    )


def _default(asked: Asked) -> Path:
    return Path("runs") / f"tune-{Path(asked.data or 'world').resolve().stem}"


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _nothing(line: str) -> None:
    """Nobody is told."""


def _answer(asked: Asked, chosen: Search, found: list[Tried], folder: TuneFolder) -> None:
    from simulations.show import figures, show_line, show_table
    from simulations.tune.asked import told
    from simulations.tune.folder import looked_at

    about, total = _about(chosen, folder)
    if asked.as_json:
        page = {"folder": str(folder.path), "metric": chosen.metric, "of": looked_at(chosen)}
        typer.echo(document({**page, **total, "trials": list(map(asdict, found)), "about": about}))
        return
    names = [each.setting for each in chosen.space]
    rows = [
        (
            str(each.number) if each.number else "as it stands",
            f"{each.value:.4f}",
            f"{each.error:.4f}",
            *(told(each.values[name]) if each.number else "" for name in names),
        )
        for each in found
        if not each.why
    ]
    columns = ("trial", *figures(chosen.metric, "standard error", *names))
    title = f"The best of {len(found) - (not total)} trials, on {looked_at(chosen)}"
    show_table(columns, rows[:_SHOWN], title)
    for each in [each for each in found if each.why][:1]:
        show_line(f"{sum(bool(one.why) for one in found)} could not be run, such as: {each.why}")
    end = "" if total else " What the runs found on test items was removed unread."
    show_line(
        "The best of many looks better than it is: differences within two standard errors are "
        f"chance as soon as anything else.{end}"
    )
    show_line(about)
    if total:
        show_line(f"The chosen adapter: {folder.chosen}; check: starling verify {folder.path}")
    else:
        show_line(f"Use it: starling simulate --config {shell_word(folder.best)} --data ...")


def _about(chosen: Search, folder: TuneFolder) -> tuple[str, dict[str, Any]]:
    """What the choice costs: in words, and of a private search in figures."""
    from shared.privacy import sentences
    from simulations.searched import Searched

    if not chosen.private:
        spec = chosen.settings({}).data.spec
        return sentences.chosen("" if spec == "world" else Path(spec).name), {}
    told = Searched.read(folder.path)
    found = {name: told.number(name) for name in ("epsilon", "each")}
    delta = told.guarantee.delta
    return sentences.searched(len(told.trials), found["epsilon"], delta), {**found, "delta": delta}
