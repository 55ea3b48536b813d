"""Who was in a run, what they met, and what kind of people they are: attacks on MovieLens.

    STARLING_DATA=FOLDER python benchmarks/audit_attacks.py [--models FOLDER]
        [--out benchmarks/results/audit_attacks.json]

MovieLens-100K under the settings of `--preset demo`: 8 runs a point on halves of the people (point
seeds 0 to 7; halves, sums and noise of seed 0). Attributes are those of 1,500 people of
MovieLens-1M (`users.dat` beside the log), one run on half of them. With `--models` finished runs
are kept there, and a repetition continues. The tables of docs/audit-attacks.md are printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from machine import hardware, load, versions
from tables import table

from shared.config import ExperimentConfig, at_epsilon, load_toml
from shared.config.presets import override, preset_file
from shared.data.sources import known_sources
from shared.privacy.plan.terms import server_terms
from simulations.audit.attacks import attributes, membership, reconstruction
from simulations.audit.attacks.halves import Released, audited, memberships, released_without
from simulations.audit.attacks.order import orders
from simulations.audit.attacks.scene import Scene
from simulations.audit.attacks.views import noised
from simulations.engine.simulation import Simulation

EPSILONS = (math.inf, 8.0, 1.0)
RUNS, TARGETS, ORDERED, PEOPLE = 8, 100, 10, 1500
_YOUNG, _OLD = 18, 50  # codes of `users.dat`: at most, and at least

Figures = dict[str, Any]


def opened(spec: str, **flags: Any) -> Simulation:
    """The simulation of a log under the demo's settings."""
    given = {"data.spec": spec, **{name.replace("__", "."): to for name, to in flags.items()}}
    return Simulation(override(load_toml(preset_file("demo")), given, preset=True))


def point_of(simulation: Simulation, epsilon: float, seed: int = 0) -> ExperimentConfig:
    """A point's settings, without what an evaluator sees."""
    return audited(at_epsilon(simulation.config, epsilon, seed))


def runs(
    simulation: Simulation, epsilon: float, count: int, folder: Path
) -> tuple[list[Released], npt.NDArray[np.bool_]]:
    """Runs on halves of the people."""
    keys = list(simulation.users)
    bits = memberships(count, len(keys), 0)
    found = []
    for number, row in enumerate(bits):
        out = [key for key, within in zip(keys, row, strict=True) if not within]
        at = folder / f"eps-{epsilon:g}" / str(number)
        found.append(released_without(simulation, point_of(simulation, epsilon, number), out, at))
        said(f"run {number} at epsilon {epsilon:g}")
    return found, bits


def members(simulation: Simulation, folder: Path) -> Figures:
    """Membership at every epsilon."""
    found = {}
    for epsilon in EPSILONS:
        released, bits = runs(simulation, epsilon, RUNS, folder)
        point = point_of(simulation, epsilon)
        terms = server_terms(point, len(simulation.users))
        promised = terms.guarantee if terms and math.isfinite(epsilon) else None
        engine = simulation.engine(point.model)
        outcome = membership.membership(engine, point, released, bits, promised)
        found[f"{epsilon:g}"] = plain(outcome)
        said(f"membership at epsilon {epsilon:g}")
    for of in found.values():
        for person in of["worst"]:
            del person["key"]  # a person's, for the auditor alone
    return found


def items(simulation: Simulation) -> Figures:
    """Items in every view."""
    found: Figures = {}
    for epsilon in EPSILONS:
        scene = Scene(simulation, point_of(simulation, epsilon))
        seen = scene.of_releases()
        if epsilon != EPSILONS[2]:
            seen += scene.of_the_server()
        if epsilon == EPSILONS[1]:
            seen += scene.of_other_trusts()
        leaks, findings = [], []
        for each in seen:
            of = (each.sent, scene.mine, scene.items, each.views, each.readers)
            some = reconstruction.leaks(*of, TARGETS)
            leaks += some
            findings += reconstruction.findings(some, each.views)
        found[f"{epsilon:g}"] = {"leaks": plain(leaks), "findings": plain(findings)}
        said(f"items at epsilon {epsilon:g}")
    return found


def order() -> Figures:
    """The order of the items of people of the world, who have fewer."""
    world = opened("world", data__users=300)
    scene = Scene(world, point_of(world, math.inf))
    short = [row for row, mine in enumerate(scene.mine) if 8 <= len(mine) <= 10][:ORDERED]
    keys = [scene.keys[row] for row in short]
    of = (scene.engine, scene.point, scene.adapter, scene.sent[short], keys)
    found: Figures = plain(orders(*of))
    said("orders")
    return found


def kinds(folder: Path) -> Figures:
    """Gender and age of people of MovieLens-1M; nothing where they are not known."""
    source = next(each for each in known_sources() if each.name == "movielens-1m")
    file = source.folder / "users.dat" if source.folder else Path("absent")
    if not file.is_file():
        return {}
    simulation = opened("movielens-1m", data__users=PEOPLE)
    named = described(file)
    about = [named[simulation.population.user_id(user)] for user in range(len(simulation.users))]
    age = np.array([years for _, years in about])
    has = {
        "gender": np.array([gender == "F" for gender, _ in about]),
        "under 25": age <= _YOUNG,
        "25 to 34": age == 25,
        "35 to 49": (age > 25) & (age < _OLD),
        "50 and more": age >= _OLD,
    }
    found = []
    for epsilon in EPSILONS:
        scene = Scene(simulation, point_of(simulation, epsilon))
        sent = scene.sent
        if math.isfinite(epsilon):
            noise = noised(scene.point, len(scene.keys), "update")
            sent = np.stack([noise(row[None], draw) for draw, row in enumerate(sent)])
        views: dict[str, Any] = {
            f"update at epsilon {epsilon:g}, {name}": rows
            for name, rows in attributes.features(scene.engine, scene.point, sent).items()
        }
        if not found:
            views = {"the items": attributes.items_of(scene.engine, scene.keys), **views}
        found += plain(attributes.inferred(views, has))
        said(f"attributes from updates at epsilon {epsilon:g}")
    found += recommended(simulation, has, folder / "ml-1m")
    return {"people": PEOPLE, "inferences": found}


def recommended(
    simulation: Simulation, has: dict[str, npt.NDArray[np.bool_]], folder: Path
) -> list[Figures]:
    """Attributes from what adapters recommend to people who were in the run, and who were not."""
    released, bits = runs(simulation, math.inf, 1, folder)
    scene = Scene(simulation, point_of(simulation, math.inf))
    start = scene.engine.schema.split(scene.adapter)
    found = []
    for name, adapter in (("start", start), ("trained adapter", released[0].adapter)):
        rows = attributes.recommendations(scene.engine, scene.point, adapter, scene.keys)
        for group, who in (("in", bits[0]), ("out", ~bits[0])):
            some = {attribute: of[who] for attribute, of in has.items()}
            found += plain(
                attributes.inferred({f"{name}, people who are {group}": rows[who]}, some)
            )
    said("attributes from recommendations")
    return found


def described(file: Path) -> dict[str, tuple[str, int]]:
    """Gender and age code by the person's identifier in the log."""
    people = {}
    for line in file.read_text(encoding="latin-1").splitlines():
        user, gender, years, *_ = line.split("::")
        people[user] = gender, int(years)
    joined = (file.parent / "user_list.txt").read_text(encoding="utf-8").splitlines()[1:]
    return {remapped: people[user] for user, remapped in map(str.split, joined)}


def plain(found: Any) -> Any:
    """Plain values of dataclasses."""
    if isinstance(found, list):
        return [plain(each) for each in found]
    return dataclasses.asdict(found)


# Tables.


def share(of: Figures, digits: int = 0) -> str:
    """A rate with its interval, in per cent."""
    value, low, high = (f"{100 * of[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def area(of: Figures) -> str:
    """An area under the curve with its interval."""
    return f"{of['value']:.3f} ({of['low']:.3f} to {of['high']:.3f})"


def pages(found: Figures) -> str:
    """The tables of the page."""
    return "\n\n".join(
        [
            table("epsilon|attack|sees|TPR at 0.1 % FPR|at 1 %|AUC|bound", _members(found)),
            table("epsilon|everybody, % right|the 5 % most exposed", _exposed(found)),
            table(
                "epsilon|view|read from|own items, %|popular|chance|top one right, %|without|bound",
                _items(found),
            ),
            table("attribute|view|AUC|right, %|majority", _kinds(found)),
        ]
    )


def _members(found: Figures) -> Iterable[list[str]]:
    for epsilon, of in found["membership"].items():
        for attack in of["attacks"]:
            at = {float(rate): each for rate, each in attack["found"]["at"].items()}
            rates = [share(at[rate], 2) for rate in (0.001, 0.01)]
            names = [attack["name"], attack["threat_model"]]
            told = f"{attack['bound']:.2f} of {attack['provable']:.2f}"
            yield [epsilon, *names, *rates, area(attack["found"]["auc"]), told]


def _exposed(found: Figures) -> Iterable[list[str]]:
    for epsilon, of in found["membership"].items():
        yield [epsilon, share(of["everybody"], 1), share(of["exposed"], 1)]


def _items(found: Figures) -> Iterable[list[str]]:
    for epsilon, of in found["items"].items():
        for leak in of["leaks"]:
            own = [f"{100 * leak[name]:.0f}" for name in ("own", "popular", "chance")]
            tops = [share(leak[name]) for name in ("top", "top_without")]
            told = f"{leak['bound']:.2f} of {leak['provable']:.2f}"
            yield [epsilon, leak["view"], leak["channel"], *own, *tops, told]


def _kinds(found: Figures) -> Iterable[list[str]]:
    for each in found["attributes"].get("inferences", []):
        right, most = share(each["accuracy"]), f"{100 * each['majority']:.0f}"
        yield [each["attribute"], each["view"], area(each["auc"]), right, most]


def said(what: str) -> None:
    """Progress."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def main() -> None:
    """Attack, write, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/audit_attacks.json"))
    parser.add_argument("--models", type=Path)
    chosen = parser.parse_args()
    logging.disable(logging.INFO)
    started, before = time.monotonic(), load()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.models or Path(temporary)
        simulation = opened("movielens-100k")
        parts: dict[str, Callable[[], Figures]] = {
            "order": order,
            "membership": lambda: members(simulation, folder),
            "items": lambda: items(simulation),
            "attributes": lambda: kinds(folder),
        }
        found: Figures = {"command": "python benchmarks/audit_attacks.py", "load": before}
        for name, part in parts.items():
            found[name] = part()
            found |= {"seconds": time.monotonic() - started, "machine": hardware()}
            found["versions"] = versions()
            chosen.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(pages(found))


if __name__ == "__main__":
    main()
