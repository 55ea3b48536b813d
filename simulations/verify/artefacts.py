"""What a run hands on: every file sealed, promises those of the ledger, every metric labelled."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from shared.config import ExperimentConfig, from_dict, load_toml, settings_hash, to_dict
from shared.errors import ConfigError, ModelError, PrivacyError
from shared.files import LOCK
from shared.metrics import NOT_RELEASED
from shared.privacy.contribution.units import sums_in_ring
from shared.privacy.ledger.promise import (
    SECURE,
    SEEDED,
    Tree,
    promise_of,
    promise_text,
    read_metadata,
    read_promise,
)
from shared.privacy.ledger.seal import file_problem, seal_problems, sealed_files
from shared.privacy.policy.issue import DAYS, policy_of
from shared.privacy.policy.signed import policy_text, read_policy
from shared.request import point_settings
from shared.run_files import DEVICES_NAME, RunFiles, RunFolder, run_files
from simulations.compare import SAME_MODEL
from simulations.results import Point, Results, Stated
from simulations.table import table_problem
from simulations.verify.comparisons import comparison_problems
from simulations.verify.fields import field_problems, protocol_problems
from simulations.verify.plan import PlanCheck
from simulations.verify.point import VerifyRow
from simulations.verify.start import (
    histogram_problems,
    moments_problems,
    unreleased_problems,
)
from simulations.verify.stated import stated_problems
from simulations.verify.terms import Expected

# What settings from anyone may raise.
_UNREADABLE = (ArithmeticError, ConfigError, KeyError, RecursionError, TypeError, ValueError)
_SAME = 1e-4  # relative: of one accountant on two machines
_MEASURED = ("metrics", "validation", "history")


@dataclass(frozen=True)
class Artefacts:
    """What a run's folder must hold under the seal, and what it may hold.

    Attributes
    ----------
    required, allowed : set of str
        Names relative to the folder: of finished points and the run as a whole.
    pending : set of str
        What an interrupted run may have written, and not sealed.
    working : set of str
        What is in no seal.
    """

    required: set[str]
    allowed: set[str]
    pending: set[str]
    working: set[str]

    @classmethod
    def of(
        cls, directory: Path, results: Results, expected: Sequence[Expected], plan: PlanCheck
    ) -> Artefacts:
        """By what is claimed and planned."""
        run, simulated = RunFolder(directory), results.simulated
        shown, settings = [run.curve, run.report], [run.settings]
        whole = (settings + shown if results.complete else settings) if simulated else []
        tables = run.tables if simulated and results.complete else ()  # runs of before have none
        required, optional = set(whole), set[Path](tables)
        for point, given in zip(results.points, expected, strict=True):
            files = point_files(directory, results, point)
            required |= {files.adapter, files.policy}
            kinds = required if simulated else optional
            kinds.add(files.settings)
            for kind, file in (("histogram", files.popularity), ("moments", files.moments)):
                if _hands_on(given, point, kind):
                    kinds.add(file)
        pending = {at for name in plan.unfinished for at in run_files(directory, name).released}
        if simulated and not results.complete:
            pending |= {*shown, *run.tables}
        working = {at for name in plan.names for at in run_files(directory, name).working}
        working |= {run.results, run.data, run.path / LOCK}
        working |= set(run.tensorboard.rglob("events.out.tfevents.*"))
        working |= {run.reference(name) for name in results.references}
        working |= {at for at in run.trial(SAME_MODEL).everything() if not results.complete}
        return cls(
            *(
                {str(at.relative_to(directory)) for at in paths}
                for paths in (required, required | optional, pending, working)
            )
        )


def point_files(directory: Path, results: Results, point: Point) -> RunFiles:
    """The files of a point, as it must call them."""
    name = results.point_files(point.number("epsilon_target"), point.get("seed"))
    return run_files(directory, name)


def _hands_on(expected: Expected, point: Point, kind: str) -> bool:
    """Whether such a release is handed on: a server's with noise, or one of devices' messages.

    Of sums that too few devices noised nothing is. Of a point that states nothing on it all are.
    """
    first = expected.terms[0]
    return (
        first is not None
        and any(kind in terms.times for terms in expected.terms if terms)
        and (math.isfinite(first.guarantee.budget) or first.guarantee.trust == "local")
        and not (kind in _opened_due(expected) and point.table("opened").get(kind) is False)
    )


def _opened_due(expected: Expected) -> set[str]:
    """Sums asked for once of which a point may state whether enough devices were in them."""
    first, config = expected.terms[0], expected.config
    if first is None or config is None or not math.isfinite(first.guarantee.budget):
        return set()
    if not sums_in_ring(config, simulated=False):
        return set()
    return {"histogram", "moments"} & set(first.times)


def _opened_problems(results: Results, expected: Sequence[Expected]) -> list[str]:
    found = []
    for at, (point, given) in enumerate(zip(results.points, expected, strict=True)):
        stated, due = point.get("opened"), _opened_due(given)
        whole = isinstance(stated, dict) and all(isinstance(told, bool) for told in stated.values())
        if "opened" in point.stated and not (whole and due and set(point.table("opened")) == due):
            words = f"true or false for {' and '.join(sorted(due))}" if due else "no such field"
            found.append(f"points[{at}]: opened = {str(stated)[:60]}: expected {words}")
    return found


def _beside(expected: Expected, point: Point) -> set[str] | None:
    """References that are a point's own; without rounds it is its own start."""
    if expected.config is None:
        return None
    start = ["start"] * (expected.config.federation.fixed_rounds > 0)
    return {*start, *(["popularity_private"] * _hands_on(expected, point, "histogram"))}


def check_artefacts(
    directory: Path, results: Results, expected: Sequence[Expected], plan: PlanCheck
) -> tuple[list[str], list[str]]:
    """What was altered since it was sealed or is not sealed at all; and what merely is not yet.

    Parameters
    ----------
    directory : Path
        The run's folder.
    results : Results
    expected : sequence of Expected
        Of each point.
    plan : PlanCheck
    """
    run = RunFolder(directory)
    problems = seal_problems(run.results, results.stated, directory)
    sealed, own = sealed_files(results.stated), Artefacts.of(directory, results, expected, plan)
    late = {str(at.relative_to(directory)) for at in run.handed_on()} - set(sealed)
    pending = late & own.pending
    problems += [f"{name!r}: not sealed: nobody vouches for it" for name in sorted(late - pending)]
    problems += [
        f"{name!r}: not in the seal, and expected there"
        for name in sorted(own.required)
        if name not in sealed and name not in late
    ]
    problems += [
        f"{name!r}: sealed, and no file of the run's points"
        for name in sorted(set(sealed) - own.allowed)
    ]
    problems += _settings_problems(run, results, sealed)
    problems += [
        problem
        for at in run.tables
        if _is_as_sealed(directory, at, sealed)
        and (problem := table_problem(results, run, at.name))
    ]
    notes = [f"{name}: not sealed yet, nobody vouches for it" for name in sorted(pending)]
    notes += [
        f"{name}: not sealed, and no file of the run"
        for name in (str(at.relative_to(directory)) for at in run.everything())
        if not (name in own.working or name in sealed or name in late or _is_ledger(name))
    ]
    problems += [*_label_problems(results), *field_problems(results)]
    beside = [_beside(*pair) for pair in zip(expected, results.points, strict=True)]
    problems += _opened_problems(results, expected)
    problems += [*stated_problems(results, beside), *_items_problems(directory, results)]
    return [*problems, *protocol_problems(results), *comparison_problems(results)], notes


def _items_problems(directory: Path, results: Results) -> list[str]:
    """Where a simulation released other than one number for each item that it states."""
    items, sealed, found = results.data.get("items"), sealed_files(results.stated), []
    for point in results.points if results.simulated else []:
        files = point_files(directory, results, point)
        for file, name in ((files.popularity, "counts"), (files.adapter, "item_bias.weight")):
            if not _is_as_sealed(directory, file, sealed):
                continue
            size = _size_of(file, name)
            if size is None and file == files.adapter:
                continue  # without that tensor, or why it cannot be read is said elsewhere
            if size != items or type(items) is not int:
                told = f"{file.relative_to(directory)}: {name} of {size} items"
                found.append(f"{told}, results.json says {str(items)[:40]}")
    return found


def _size_of(file: Path, name: str) -> int | None:
    """How many numbers a tensor has; None where there is none of that name."""
    try:
        with safe_open(file, framework="np") as stream:
            known = name in stream.keys()  # noqa: SIM118 - the stream is no mapping
            return math.prod(stream.get_slice(name).get_shape()) if known else None
    except (SafetensorError, OSError, ValueError):
        return None


def _is_ledger(name: str) -> bool:
    """Whether it is looked at where ledgers are."""
    folder, _, file = name.rpartition("/")
    if not folder:
        return name.startswith("ledger-") and name.endswith(".jsonl")
    return bool(DEVICES_NAME.fullmatch(folder)) and file.endswith(".jsonl")


def _settings_problems(run: RunFolder, results: Results, sealed: Mapping[str, object]) -> list[str]:
    """Whether the settings of the run, where they are handed on, are those in its results."""
    name = run.settings.name
    if not _is_as_sealed(run.path, run.settings, sealed):
        return []
    try:
        own, kept = (
            {k: v for k, v in to_dict(at).items() if k != "engine"}  # it may go on with another
            for at in (results.experiment(), _settings(run.settings))
        )
    except _UNREADABLE as error:
        return [f"{name}: {str(error)[:200]}"]
    return [] if own == kept else [f"{name}: other settings than those in results.json"]


def _settings(file: Path) -> ExperimentConfig:
    return from_dict(load_toml(file), file.name)


def promise_reasons(
    directory: Path, results: Results, point: Point, expected: Expected, rows: Sequence[VerifyRow]
) -> list[str]:
    """Where files or noise of a point do not say what its ledgers and settings do."""
    config, name, noise = expected.config, point.adapter, point.get("noise")
    reasons = []
    if noise not in (SEEDED, SECURE):
        reasons.append(f"noise = {str(noise)[:40]!r} claimed: expected {SEEDED!r} or {SECURE!r}")
    elif results.simulated and noise == SECURE:
        reasons.append(f"noise = {noise!r} claimed: a simulation's is {SEEDED!r}")
    files, sealed = point_files(directory, results, point), sealed_files(results.stated)
    given = str(files.adapter.relative_to(directory))
    if name not in sealed or name != given:
        return [*reasons, f"adapter = {name[:99]!r}: expected {given!r}, a file that is sealed"]
    if config is None or not any(row.shown or row.ok for row in rows):
        return reasons  # why is among their own
    kept = [
        (terms.guarantee, row.record)
        for terms, row in zip(expected.terms, rows, strict=False)
        if terms
    ]
    own = promise_of(kept, settings_hash(config), seeded=noise == SEEDED)
    kinds = {kind for terms in expected.terms if terms for kind in terms.times}
    found: dict[Path, Callable[[], list[str]]] = {
        files.adapter: lambda: [
            *_carried_problems(files.adapter, config, own),
            *unreleased_problems(files, config, kinds),
        ],
        files.settings: lambda: _point_settings_problems(files.settings, config),
        files.policy: lambda: _policy_problems(files.policy, expected, config),
        files.popularity: lambda: histogram_problems(files, config, expected.users),
        files.moments: lambda: moments_problems(files, config, expected.users),
    }
    for file, problems in found.items():
        if _is_as_sealed(directory, file, sealed):  # else the seal's to say
            reasons += [f"{file.relative_to(directory)}: {problem}" for problem in problems()]
    return reasons


def _is_as_sealed(directory: Path, file: Path, sealed: Mapping[str, object]) -> bool:
    name = str(file.relative_to(directory))
    return name in sealed and not file_problem(directory, name, sealed[name])


def _carried_problems(file: Path, config: ExperimentConfig, own: Tree) -> list[str]:
    """Where what an adapter carries is not its promise and the point's settings, to the letter."""
    try:
        carried, promise = read_metadata(file), read_promise(file)
    except ModelError as error:
        return [str(error)]
    found = _differences("promise", promise, json.loads(promise_text(own)))[:3]
    # Not in that form it may be read in two ways, such as a name that is there twice.
    if promise is not None and carried["promise"] != promise_text(promise):
        found.append("promise: not in the form in which a run writes it")
    if carried.get("settings") != point_settings(config):
        found.append("carries other settings than the point's")
    odd = sorted(set(carried) - {"promise", "settings"})
    return found + [f"carries {name[:40]!r}, which no run writes" for name in odd]


def _point_settings_problems(file: Path, config: ExperimentConfig) -> list[str]:
    try:
        same = point_settings(_settings(file)) == point_settings(config)
    except _UNREADABLE as error:
        return [str(error)[:200]]
    return [] if same else ["other settings than the point's"]


def _policy_problems(file: Path, expected: Expected, config: ExperimentConfig) -> list[str]:
    """Where what devices were promised is not what the settings give."""
    try:
        policy = read_policy(policy_text(file), None)
        start = policy.from_time
        own = policy_of(config, expected.users, policy.schema, policy.issuer, start, DAYS)
    except (ConfigError, PrivacyError, ArithmeticError) as error:
        return [str(error)]
    if (policy.settings, policy.users) != (own.settings, own.users):
        return ["a policy of other settings or another number of users than the point's"]
    if replace(own, valid_from=policy.valid_from, valid_until=policy.valid_until) != policy:
        return ["promises devices other than what the settings give"]
    return []


def _differences(where: str, stated: object, own: object) -> list[str]:
    """Where two JSON values differ; epsilons by more than two machines may."""
    if isinstance(stated, dict) and isinstance(own, dict):
        names = {**stated, **own}
        return [at for n in names for at in _differences(f"{where}.{n}", stated.get(n), own.get(n))]
    if isinstance(stated, list) and isinstance(own, list) and len(stated) == len(own):
        return [
            line
            for at, (one, two) in enumerate(zip(stated, own, strict=True))
            for line in _differences(f"{where}[{at}]", one, two)
        ]
    close = isinstance(stated, float) and isinstance(own, float)
    if stated == own or (
        close and math.isclose(float(str(stated)), float(str(own)), rel_tol=_SAME)
    ):
        return []
    return [f"{where} = {str(stated)[:80]!r}, ledger and settings give {str(own)[:80]!r}"]


def _label_problems(results: Results) -> list[str]:
    """What was measured without noise must say so; `field_problems` reads what it says."""
    parts: dict[str, Stated] = {f"references.{k}": v for k, v in results.references.items()}
    for at, point in enumerate(results.points):
        beside = Stated(point.table("references"))
        parts |= {f"points[{at}]": point}
        parts |= {f"points[{at}].references.{n}": Stated(beside.table(n)) for n in beside.stated}
    return [
        f"{where}: metrics_status is missing: expected {NOT_RELEASED!r}"
        for where, part in parts.items()
        if any(name in part.stated for name in _MEASURED) and "metrics_status" not in part.stated
    ]
