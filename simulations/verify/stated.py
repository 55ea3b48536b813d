"""What a simulation states of every part of it must be there, and of the people that were asked.

What is left out speaks as well: a reference that a point is below, or a machine. So what must be
there follows from the settings and from what every run writes, never from what is stated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from shared.config import ExperimentConfig, to_dict
from shared.data.protocol import CUTOFF
from shared.errors import ConfigError
from shared.privacy.contribution.units import update_clip
from simulations.compare import SAME_MODEL, planned_references, same_model, settings_apart
from simulations.results import VERSIONS, Reference, Results, Stated

_SAME = 1e-9
_METRICS = tuple(f"{prefix}{n}" for prefix in ("", "full_") for n in ("hr@10", "ndcg@10", "mrr"))
_RANKED = ("metrics", "metrics_status")
_WHOLE = (*_RANKED, "validation", "seconds", "environments")
OF_A_POINT = (
    *(*_WHOLE, "history", "trained_parameters", "communication_bytes"),
    *("references", "compared"),
)
_OF_A_REFERENCE = {
    "start": _RANKED,
    "popularity_private": (*_RANKED, "validation", "computed_from"),
    "centralized": (*_WHOLE, "epochs"),
    SAME_MODEL: (
        *(*_WHOLE, "references", "compared"),
        *("seed", "rounds", "cohort", "trained_parameters", "clipping_norm"),
    ),
}
_NO_CLIP = ("clipping_norm", True)
_OF_THE_RUN = ("starling", "environment", "data", "references", "compared")
_OF_THE_DATA = (
    *("spec", "name", "users", "items", "interactions"),
    *("evaluated_users", "negatives", "negatives_drawn"),
)
MACHINE = (
    *(*VERSIONS, "cpus", "threads", "device", "dtype"),
    *("batching", "checkpointing", "backbone_sha256"),
)


def stated_problems(results: Results, beside: Sequence[set[str] | None]) -> list[str]:
    """What a simulation leaves out, and what no people or settings can have given.

    Parameters
    ----------
    results : Results
    beside : sequence of set of str or None
        The references of each point's own; None where nobody knows.
    """
    if not results.simulated:
        return []
    found = [
        *_missing("results.json", results, _OF_THE_RUN),
        *_missing("data", Stated(results.data), _OF_THE_DATA),
        *_machine_problems("environment", results.get("environment")),
    ]
    for where, part, due in _parts(results):
        found += _missing(where, part, due)
        if "environments" in due and "environments" in part.stated:
            found += _machines_problems(where, part)
        evaluated = Stated(results.data).number("evaluated_users")
        for name in ("metrics", "validation"):
            if name in due or name in part.stated:
                found += _people_problems(f"{where}.{name}", Stated(part.table(name)), evaluated)
    for at, point in enumerate(results.points):
        moved = Stated(point.table("communication_bytes"))
        found += _missing(f"points[{at}].communication_bytes", moved, ("up", "down"))
    for at, (point, own) in enumerate(zip(results.points, beside, strict=True)):
        if own is not None:
            found += _other_names(f"points[{at}].references", point.table("references"), own)
    try:
        config = results.experiment()
    except (ConfigError, KeyError, TypeError, ValueError):
        return found  # among the problems of the plan
    return [*found, *_reference_problems(results, config)]


def _parts(results: Results) -> Iterator[tuple[str, Stated, tuple[str, ...]]]:
    """Everything that was ranked: where, what, and what is always stated of it."""
    outer: dict[str, tuple[Stated, tuple[str, ...]]] = {
        f"points[{at}]": (point, OF_A_POINT) for at, point in enumerate(results.points)
    }
    for name, reference in results.references.items():
        outer[f"references.{name[:40]}"] = reference, _OF_A_REFERENCE.get(name, _WHOLE)
    for where, (part, due) in outer.items():
        yield where, part, due
        inner = Stated(part.table("references"))
        for name in inner.stated:
            of = _OF_A_REFERENCE.get(name, _RANKED)
            yield f"{where}.references.{name[:40]}", Stated(inner.table(name)), of


def _missing(where: str, part: Stated, due: Sequence[str]) -> list[str]:
    # Of the reference that clips nothing the norm is null; nothing else is.
    absent = (n for n in due if part.get(n) is None and (n, n in part.stated) != _NO_CLIP)
    return [f"{where}: {name} is missing: every run states it" for name in absent]


def _machines_problems(where: str, part: Stated) -> Iterator[str]:
    given = part.get("environments")
    if not (isinstance(given, list) and given):
        yield f"{where}: environments: expected those in which it was computed"
        return
    for at, each in enumerate(given):
        yield from _machine_problems(f"{where}.environments[{at}]", each)


def _machine_problems(where: str, given: object) -> list[str]:
    known = given if isinstance(given, Mapping) else {}
    odd = [n for n in MACHINE if not isinstance(known.get(n), str | int) or known[n] == ""]
    return [f"{where}: expected what every run states of it: {', '.join(odd)}"] if odd else []


def _people_problems(where: str, told: Stated, evaluated: float) -> Iterator[str]:
    """Where no ranks of as many people as were evaluated have these metrics."""
    errors = [f"{name}_se" for name in _METRICS] if evaluated > 1 else []
    odd = {*_METRICS, *errors, "users"} ^ set(told.stated)
    if odd:
        yield f"{where}: {min(odd)[:40]}: missing, or there for one person alone"
    elif told.number("users") != evaluated:
        yield (
            f"{where}.users = {str(told.get('users'))[:40]} claimed, and {evaluated:g} people are "
            "evaluated (data.evaluated_users)"
        )
    else:
        for prefix in ("", "full_"):
            if not _can_be(told, prefix, evaluated):
                yield f"{where}: no {evaluated:g} people's ranks give {prefix}hr@10, ndcg@10, mrr"


def _can_be(told: Stated, prefix: str, users: float) -> bool:
    """Whether so many ranks can have these means and errors.

    A hit is 1 and its gain between that of the tenth place and 1; anything else is 0 in both.
    """
    hit, gain, reciprocal = (told.number(f"{prefix}{n}") for n in ("hr@10", "ndcg@10", "mrr"))
    least = 1 / math.log2(CUTOFF + 1)
    means = (
        0 <= hit <= 1
        and abs(hit * users - round(hit * users)) <= 1e-6
        and least * hit - _SAME <= gain <= hit + _SAME
        and 0 < reciprocal <= 1
    )
    if not means or users < 2:
        return means
    squares = [
        (users - 1) * told.number(f"{prefix}{n}_se") ** 2 + told.number(f"{prefix}{n}") ** 2
        for n in ("hr@10", "ndcg@10", "mrr")
    ]  # each the mean over people
    of_gains = gain**2 / hit if hit else 0.0, (1 + least) * gain - least * hit
    return (
        abs(squares[0] - hit) <= _SAME
        and of_gains[0] - _SAME <= squares[1] <= of_gains[1] + _SAME
        and reciprocal**2 - _SAME <= squares[2] <= reciprocal + _SAME
    )


def _other_names(where: str, stated: Mapping[str, object], due: set[str]) -> list[str]:
    absent, more = sorted(due - set(stated)), sorted(set(stated) - due)
    found = [f"{where}.{name}: missing: every such run states it" for name in absent]
    return found + [f"{where}.{name[:40]}: not among what the settings give" for name in more]


def _reference_problems(results: Results, config: ExperimentConfig) -> Iterator[str]:
    """Where references are not those that were asked for, or not of these settings."""
    planned = set(planned_references(config, bool(settings_apart(to_dict(config)))))
    stated = results.references
    due = planned if results.complete else planned & set(stated)
    yield from _other_names("references", stated, due)
    given: dict[str, Callable[[], Mapping[str, object]]] = {
        "centralized": lambda: {"epochs": config.references.centralized_epochs},
        SAME_MODEL: lambda: _of_the_same_model(results, config),
    }
    for name in sorted(planned & set(stated) & set(given)):
        yield from _differing(name, stated[name], given[name]())
    if SAME_MODEL in planned & set(stated):
        inner = stated[SAME_MODEL].table("references")
        own = {"start"} if same_model(config).federation.rounds else set()
        yield from _other_names(f"references.{SAME_MODEL}.references", inner, own)


def _of_the_same_model(results: Results, config: ExperimentConfig) -> Mapping[str, object]:
    point = same_model(config)
    clip, users = update_clip(point), results.users
    noised = [at for at in results.points if math.isfinite(at.number("epsilon_target"))]
    trained = [at.get("trained_parameters") for at in noised]
    return {
        "seed": point.seed,
        "rounds": point.federation.fixed_rounds,
        "clipping_norm": None if clip is None else clip.norm,
        **({"cohort": point.federation.expected_cohort(users)} if users else {}),
        **({"trained_parameters": trained[0]} if trained else {}),
    }


def _differing(name: str, stated: Reference, given: Mapping[str, object]) -> Iterator[str]:
    for word, value in given.items():
        claimed = stated.get(word)
        same = claimed == value and type(claimed) is not bool
        if not same:
            yield (
                f"references.{name}.{word} = {str(claimed)[:40]} claimed, the settings give "
                f"{str(value)[:40]}"
            )
