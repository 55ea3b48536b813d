"""`starling account`: what a plan of rounds costs, before anything is run.

An answer needs neither Flower nor, unless Opacus is asked too, torch; the accountants themselves
are imported when there is something to ask them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.canonical import document
from shared.errors import ConfigError
from shared.privacy.guarantee import Relation, check_relation
from simulations.commands import options
from simulations.commands.options import takes

if TYPE_CHECKING:
    from shared.privacy.accounting.calculator import Known, Rounds

LARGE_DELTA = 1e-3  # a run among a thousand people or more refuses it


@dataclass(frozen=True)
class Question:
    """The options of `starling account`."""

    epsilon: Annotated[float | None, typer.Option(help="Target, at delta.")] = None
    noise: Annotated[
        float | None, typer.Option(help="Noise multiplier, relative to the clipping norm.")
    ] = None
    rounds: Annotated[int | None, typer.Option(help="Releases, one a round.")] = None
    sampling: Annotated[
        float | None, typer.Option(help="Probability of being in a round; 1: everyone.")
    ] = None
    delta: Annotated[float | None, typer.Option(help="In (0, 1); default: from --users.")] = None
    users: Annotated[int | None, typer.Option(help="How many there are.")] = None
    deltas: Annotated[str | None, typer.Option(help="Show these too, such as 1e-4,1e-6.")] = None
    relation: Annotated[Relation, typer.Option(help="Which two data sets are compared.")] = (
        "zero_out"
    )
    group: Annotated[int, typer.Option(help="Units protected together, as a household.")] = 1
    took_part: Annotated[
        str | None, typer.Option(help="In how many rounds individuals were, such as 3,17.")
    ] = None
    prv: Annotated[bool, typer.Option(help="Ask Opacus's accountant too; loads torch.")] = False
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False


@takes(Question)
def account(asked: Question) -> None:
    """Give all but one of --epsilon, --noise, --rounds and --sampling: finds it, and what it costs.

    Nothing is read or written: these are the accountants that calibrate a run and check it.
    """
    from simulations.show import waiting

    with waiting("asking the accountants"):
        answer = _answer(asked)
    if asked.as_json:
        typer.echo(document(answer))
    else:
        _show(answer)


def _answer(asked: Question) -> dict[str, Any]:
    """What is known and what was found, by name."""
    from shared.privacy.accounting.calculator import Known

    users = asked.users
    if users is not None and users < 1:
        raise ConfigError(f"users = {users}: expected at least 1")
    chosen = _delta(asked.delta, users)
    more = [] if asked.deltas is None else options.deltas(asked.deltas)
    shown = sorted({chosen, *more}, reverse=True)
    _below_one_in(users, shown[0])
    known = Known(
        asked.noise, asked.rounds, asked.sampling, check_relation(asked.relation), asked.group
    )
    free, found = _solved(known, asked.epsilon, chosen)
    return {
        "solved": free,
        "noise_multiplier": found.noise_multiplier,
        "rounds": found.rounds,
        "sampling_probability": found.sampling_probability,
        "relation": found.relation,
        "group": found.group,
        "delta": chosen,
        "users": users,
        "epsilons": [_costs(found, at, asked.prv) for at in shown],
        "individuals": _individuals(found, chosen, users, asked.took_part),
        "split": _splits(found, asked.epsilon or found.epsilon(chosen), chosen, users),
    }


def _splits(
    found: Rounds, epsilon: float, delta: float, users: int | None
) -> list[dict[str, float | str]]:
    """How runs that may spend as much split it where their settings leave the shares open."""
    from shared.privacy.plan.split import budget_split

    if users is None or not math.isfinite(epsilon):
        return []
    kinds = {
        "rounds and a histogram": ("histogram", "update"),
        "moments too": ("histogram", "moments", "update"),
        "no rounds": ("histogram",),
        "moments, no rounds": ("histogram", "moments"),
    }
    return [
        {"run": run, **budget_split(users, epsilon, delta, given, found.group)}
        for run, given in kinds.items()
    ]


def _delta(delta: float | None, users: int | None) -> float:
    from shared.privacy.accounting.accountant import check_resolved, default_delta

    if delta is not None:
        if not 0 < delta < 1:
            raise ConfigError(f"--delta {delta:g}: expected a number in (0, 1), such as 1e-5")
        check_resolved(delta)
        return delta
    if users is None:
        raise ConfigError("--delta or --users: give one; delta should be well below 1 / users")
    return default_delta(users)


def _below_one_in(users: int | None, delta: float) -> None:
    """As a plan has it."""
    if users is not None and delta >= 1 / users:
        raise ConfigError(
            f"delta = {delta:g} with --users {users}: expected below 1/{users} = {1 / users:.2g}; "
            "from there on, publishing one of them outright would be allowed"
        )


def _solved(known: Known, epsilon: float | None, delta: float) -> tuple[str, Rounds]:
    """What was left out, and the complete plan."""
    given = {
        "epsilon": epsilon,
        "noise": known.noise_multiplier,
        "rounds": known.rounds,
        "sampling": known.sampling_probability,
    }
    missing = [name for name, value in given.items() if value is None]
    if len(missing) != 1:
        left = ", ".join(f"--{name}" for name in missing) or "none"
        raise ConfigError(
            "--epsilon, --noise, --rounds, --sampling: give all but the one to be found; "
            f"left out: {left}"
        )
    from shared.privacy.accounting.calculator import Rounds, solve

    if epsilon is None:
        return "epsilon", Rounds(**vars(known))
    return missing[0], solve(known, epsilon, delta)


def _costs(found: Rounds, delta: float, ask_prv: bool) -> dict[str, float | None]:
    """Epsilon at one delta by each accountant, and against someone who sees who takes part."""
    from shared.privacy.accounting.accountant import epsilon_prv, epsilon_rdp

    history, how = found.history(), (delta, found.relation, found.group)
    return {
        "delta": delta,
        "pld": found.epsilon(delta),
        "rdp": epsilon_rdp(history, *how),
        "prv": epsilon_prv(history, *how) if ask_prv else None,
        "in_every_round": found.epsilon_taking_part(found.rounds, delta),
    }


def _individuals(
    found: Rounds, delta: float, users: int | None, took_part: str | None
) -> list[dict[str, float | str]]:
    """What individuals spend against someone who sees who takes part: by how often they did."""
    from shared.privacy.accounting.calculator import participations

    if took_part is not None:
        counts = [int(count) for count in options.numbers("--took-part", took_part, int)]
        named = [(f"in {count} rounds", count) for count in sorted(counts)]
    elif users is not None:
        least, most = participations(found, users)
        named = [("least often, typically", least), ("most often, typically", most)]
    else:
        return []
    outside = [count for _, count in named if not 0 <= count <= found.rounds]
    if outside:
        raise ConfigError(f"--took-part {outside[0]}: expected 0 to {found.rounds} rounds")
    return [
        {"who": who, "rounds": count, "epsilon": found.epsilon_taking_part(count, delta)}
        for who, count in named
    ]


_NAMES = {
    "noise_multiplier": "noise multiplier",
    "rounds": "rounds",
    "sampling_probability": "sampling",
    "relation": "relation",
    "group": "group",
}
_SOLVED = {"noise": "noise_multiplier", "sampling": "sampling_probability", "rounds": "rounds"}


def _show(answer: dict[str, Any]) -> None:
    from shared.privacy import sentences
    from simulations.show import figures, show_table

    show_table(figures(*_NAMES.values()), [[_cell(answer[name]) for name in _NAMES]], "Plan")
    costs = {"delta": "delta", "pld": "PLD", "rdp": "RDP", "prv": "PRV"}
    costs["in_every_round"] = "seen in every round"
    if all(row["prv"] is None for row in answer["epsilons"]):
        del costs["prv"]
    rows = [[_cell(row[name]) for name in costs] for row in answer["epsilons"]]
    show_table(figures(*costs.values()), rows, "Epsilon")
    if answer["individuals"]:
        title = f"Individuals, seen taking part, at delta {answer['delta']:g}"
        people = [[_cell(value) for value in row.values()] for row in answer["individuals"]]
        show_table(("who", *figures("rounds", "epsilon")), people, title)
    if answer["split"]:
        kinds = {"histogram": "histogram", "moments": "moments", "update": "rounds"}
        title = "Shares of a budget as this, where settings leave them open"
        runs = [[row["run"], *(_cell(row.get(at)) for at in kinds)] for row in answer["split"]]
        show_table(("run", *figures(*kinds.values())), runs, title)
    lines = [_found(answer), *sentences.accounted()]
    if "prv" not in costs:
        lines.append("PRV was not asked: --prv does, and takes some seconds.")
    if answer["users"] is None and answer["delta"] > LARGE_DELTA:
        lines.append(sentences.large_delta(answer["delta"]))
    for line in lines:
        typer.echo(line)


def _found(answer: dict[str, Any]) -> str:
    """The figure that was left out, as it is typed: rounded so that the target still holds."""
    solved, delta = answer["solved"], answer["delta"]
    spent = next(row["pld"] for row in answer["epsilons"] if row["delta"] == delta)
    value = spent if solved == "epsilon" else answer[_SOLVED[solved]]
    safe = Context(prec=6, rounding=ROUND_FLOOR if solved == "sampling" else ROUND_CEILING)
    return f"Found: --{solved} {float(safe.create_decimal(value)):g}, at delta {delta:g}."


def _cell(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.5g}"
