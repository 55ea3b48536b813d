"""What a run claims: `results.json` is read and written here alone.

Each class is a view of one JSON object, `stated`, as the file has it: what was read is written
again to the letter, and what nobody here knows of is still there for `simulations.verify` to
notice. Infinity may be the string `"inf"`, as in `results.json`, or the float.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from shared.config import ExperimentConfig, from_dict
from shared.config.places import ELSEWHERE, from_a_place
from shared.errors import DataError, LedgerError
from shared.files import read_file, read_record
from shared.privacy.accounting.meaning import Meaning, Seen
from shared.privacy.guarantee import Guarantee
from shared.privacy.keys import trusted_public_key
from shared.privacy.ledger.seal import Digests, seal_problems, signer, write_sealed
from shared.privacy.sentences import begun, encoded
from shared.run_files import RESULTS_SCHEMA, point_name

Tree = Mapping[str, object]
Metrics = Mapping[str, float]

VERSIONS = (
    *("starling", "python", "torch", "flwr", "transformers", "peft", "opacus", "dp_accounting"),
    *("numpy", "platform"),
)
"""What an environment names that a result may depend on, whatever the machine's size."""

POPULARITY_FROM = "the histogram as it was released, nothing else"
"""What a released histogram's own ranking is computed from."""

_MOST_DIGITS = 40  # of a whole number: more, which may overflow as a float, equals nothing
_LARGEST = 2**53  # whole numbers beyond it are not exact as floats


def epsilon_of(value: object) -> float:
    """An epsilon as a float; the string `"inf"` is infinity.

    Raises
    ------
    DataError
        If the value is not a number above zero.
    """
    try:
        epsilon = float(cast("float | str", value))
    except (OverflowError, TypeError, ValueError):
        epsilon = math.nan
    if not epsilon > 0:
        raise DataError(f'epsilon = {value!r}; expected a number above 0, or "inf"')
    return epsilon


@dataclass(frozen=True)
class Stated:
    """An object of `results.json`.

    Attributes
    ----------
    stated : mapping
        As the file has it; whoever wrote the file decided what is in it.
    """

    stated: Tree

    def get(self, name: str, otherwise: object = None) -> object:
        """Whatever is stated under a name."""
        return self.stated.get(name, otherwise)

    def number(self, name: str) -> float:
        """A number or the string "inf"; NaN, which equals nothing, for anything else."""
        value = self.get(name)
        if value == "inf":
            return math.inf
        if type(value) is int and abs(value) < _LARGEST:
            return float(value)
        return value if type(value) is float else math.nan

    def table(self, name: str) -> Tree:
        """An object; empty for anything else."""
        value = self.get(name)
        return value if isinstance(value, Mapping) else {}

    @property
    def environments(self) -> list[Tree]:
        """Of a point or a reference: what computed it, one entry for each change."""
        found = self.get("environments")
        return (
            [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
        )

    def write(self, file: Path, files: Digests) -> None:
        """Replace the file by this under the operator's seal, which vouches for `files` too."""
        write_sealed(file, self.stated, files)


class Reference(Stated):
    """A reference point: what no federation, no training or no privacy gives."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """One that was finished; errors as for `Point.read`."""
        return cls(_own(file, ("metrics", "validation", "ranks")))

    @property
    def metrics(self) -> Metrics:
        """On test items, for the evaluator."""
        return cast("Metrics", self.table("metrics"))


class Claim(Stated):
    """One guarantee, and what it rests on.

    All that `Guarantee.stated` gives; `epsilon`, `epsilon_rdp`, `epsilon_prv` as the ledger shows
    them; the mechanism's numbers; `releases`; and where its ledger ends.
    """

    @property
    def target(self) -> float:
        """The epsilon that was asked for; a `DataError` if it is none."""
        return epsilon_of(self.get("epsilon_target"))

    @property
    def epsilon(self) -> float:
        """What was spent, by PLD; a `DataError` if it is none."""
        return epsilon_of(self.get("epsilon"))

    @property
    def private(self) -> bool:
        """Whether it promises anything: there is noise."""
        return math.isfinite(self.epsilon)

    def beside(self, guarantee: Guarantee) -> list[tuple[str, object, object]]:
        """Every word of a guarantee: its name, as it is claimed here, as the guarantee has it."""
        return [
            (
                name,
                self.number(name) if isinstance(has, float) else self.get(name),
                has,
            )
            for name, has in guarantee.stated().items()
        ]

    @property
    def meaning(self) -> Meaning | None:
        """What its epsilon says, in figures; None where it promises nothing or does not say it."""
        told = self.table("meaning")
        if not (self.private and told and self.number("delta") > 0):
            return None
        groups, seen = cast("dict[str, object]", told["groups"]), cast("list[Tree]", told["seen"])
        return Meaning(
            self.epsilon,
            self.number("delta"),
            cast("float | None", told["exceeds"]),
            cast("int", told["group"]),
            {int(size): epsilon_of(value) for size, value in groups.items()},
            tuple(Seen(cast("int", one["sums"]), epsilon_of(one["epsilon"])) for one in seen),
        )

    @property
    def ledger(self) -> Tree:
        """Of its ledger: `file`, `entries`, `head`; or nothing."""
        return self.table("ledger")


class Point(Claim):
    """One trained model: one target epsilon, one seed. Itself the claim of its own guarantee."""

    _FOUND = ("epsilon_target", "unit", "delta", "relation", "trust", "seed", "metrics")

    @classmethod
    def outcome(cls, file: Path) -> Self:
        """What a federation left, before its ledgers are read; damage is a `ConfigError`."""
        return cls(read_record(file, cls._FOUND))

    @classmethod
    def read(cls, file: Path) -> Self:
        """One that was finished and sealed.

        Raises
        ------
        ConfigError
            If the file is damaged.
        LedgerError
            If it or a file that its seal names was altered since.
        """
        return cls(_own(file, (*cls._FOUND, "epsilon", "ledger", "ranks")))

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Its guarantees: its own, and under both units that of its examples."""
        if "example" not in self.stated:
            return (self,)
        # Whatever it is: a claim that nothing reads would stand unchecked.
        outer = {name: self.get(name) for name in ("rounds", "cohort", "seed")}
        return self, Claim({**outer, **self.table("example")})

    @property
    def metrics(self) -> Metrics:
        """On test items, for the evaluator; empty of a real run, which measures none."""
        return cast("Metrics", self.table("metrics"))

    @property
    def history(self) -> Sequence[Metrics]:
        """What the evaluator saw of each round."""
        return cast("Sequence[Metrics]", self.get("history") or ())

    @property
    def released(self) -> Sequence[Tree]:
        """Metrics that were released with noise: `round`, `users`, and each metric's figures."""
        return cast("Sequence[Tree]", self.table("released_metrics").get("releases", ()))

    @property
    def adapter(self) -> str:
        """The released file, relative to the run's folder; empty if none is stated."""
        return str(self.get("adapter") or "")

    @property
    def order(self) -> tuple[float, str]:
        """What points are sorted by: target epsilon, then seed."""
        return self.target, str(self.get("seed"))


class Results(Stated):
    """What a run claims: `schema`, `data`, `config`, `environment`, `points`, `references`."""

    @classmethod
    def read(cls, file: Path) -> Self:
        """The results in a file, trusting nothing in it.

        Raises
        ------
        DataError
            If the file is missing, unreadable or not results of this schema with points.
        """
        try:
            tree = json.loads(read_file(file).decode(), object_pairs_hook=_unique, parse_int=_whole)
            _check_depth(tree)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}; give a run's folder"
            raise DataError(f"{file}: {reason}") from None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}: not a JSON file: {error}") from None
        return cls.of(tree, str(file))

    @classmethod
    def of(cls, tree: object, source: str = "results.json") -> Self:
        """The results that a JSON value is; a `DataError` naming the source if it is none."""
        if not isinstance(tree, Mapping) or tree.get("schema") != RESULTS_SCHEMA:
            raise DataError(f"{source}: not results of schema {RESULTS_SCHEMA}")
        points = tree.get("points")
        if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
            raise DataError(f"{source}: points: expected a list of objects")
        return cls(tree)

    def having(
        self, points: Sequence[Stated], references: Mapping[str, Stated], **more: object
    ) -> Self:
        """The same run with so much of it finished, and what else is said of that."""
        done = {
            **more,
            "points": [_told(point) for point in points],
            "references": {name: _told(found) for name, found in references.items()},
        }
        return type(self)({**self.stated, **done})

    @property
    def points(self) -> list[Point]:
        """All of them, in the order of the file."""
        return [Point(point) for point in cast("list[Tree]", self.stated["points"])]

    @property
    def references(self) -> dict[str, Reference]:
        """By name; what is no object states nothing."""
        found = Stated(self.table("references"))
        return {name: Reference(found.table(name)) for name in found.stated}

    @property
    def complete(self) -> bool:
        """Whether every planned point must be there; without a word the stricter rules hold."""
        return self.get("complete") is not False

    @property
    def simulated(self) -> bool:
        """Whether it is a sweep's; a real run is of one point, and states its name."""
        return "name" not in self.stated

    @property
    def several_versions(self) -> str:
        """Of what more than one version computed parts, such as `torch 2.4, 2.5`; or nothing."""
        parts = [*self.points, *self.references.values()]
        known = [at for part in parts for at in part.environments]
        found = {n: sorted({str(at[n]) for at in known if n in at}) for n in VERSIONS}
        return "; ".join(f"{n} {', '.join(all_)}" for n, all_ in found.items() if len(all_) > 1)

    def point_files(self, epsilon: float, seed: object) -> str:
        """What the files of a point are called."""
        return point_name(epsilon, seed) if self.simulated else str(self.get("name"))

    @property
    def data(self) -> Tree:
        """`name`, `spec`, `users`, `items`, ...: what people's histories the run is about."""
        return self.table("data")

    @property
    def users(self) -> int | None:
        """The size of the population, at least 1; None if it is not stated."""
        users = self.data.get("users")
        return users if type(users) is int and 1 <= users < _LARGEST else None

    @property
    def config(self) -> Tree:
        """The experiment's settings as they are stated."""
        return self.table("config")

    def experiment(self) -> ExperimentConfig:
        """The experiment's settings, validated.

        Raises
        ------
        ConfigError, KeyError, TypeError, ValueError
            If nothing of the kind is stated.
        """
        settings: Any = self.stated["config"]
        return from_dict(dict(settings), source="results.json: config")

    @property
    def premises(self) -> tuple[str, ...]:
        """What its guarantees rest on and nobody can check, in sentences."""
        model = Stated(Stated(self.config).table("model"))
        found = [begun(str(model.get("start_sha256")))] if "start" in model.stated else []
        for name, kind in (("backbone", "reader"), ("items", "encoder")):
            typed, told = model.get(name), model.get(f"{name}_sha256")
            digest = None if told is None else str(told)
            if isinstance(typed, str) and from_a_place(typed, digest):
                kind = "vectors" if typed.endswith(".npz") else kind
                found.append(encoded(ELSEWHERE[kind], digest or "not stated"))
        return tuple(found)

    @property
    def private_claims(self) -> list[Claim]:
        """The guarantees of all points that have noise; those without promise nothing.

        What was spent is not stated where it is on devices' own ledgers alone.
        """
        return [
            claim
            for point in self.points
            for claim in point.claims
            if (claim.private if "epsilon" in claim.stated else math.isfinite(claim.target))
        ]


def _own(file: Path, required: tuple[str, ...]) -> Tree:
    """A finished part of a run of ours: nothing altered since may be vouched for again."""
    record = read_record(file, (*required, "seal"))
    problems = seal_problems(file, record, file.parents[1])
    if signer(record) != trusted_public_key():
        problems.append(f"{file.name}: sealed by another key than that in STARLING_HOME")
    if problems:
        raise LedgerError(f"{file.parent}: {problems[0]}; start a new run with another --out")
    return record


def _told(part: Stated) -> Tree:
    """A part of results: without single people's ranks, and the seal of the whole is its own."""
    told = {name: value for name, value in part.stated.items() if name not in ("seal", "ranks")}
    if "references" in told:
        beside = Stated(part.table("references"))
        told["references"] = {name: _told(Stated(beside.table(name))) for name in beside.stated}
    return told


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else math.nan


def _check_depth(tree: object, left: int = 50) -> None:
    """Refuse what is nested deeper than any results are: those who read it go down with it."""
    if left == 0:
        raise ValueError("nested too deeply")
    if isinstance(tree, dict | list):
        for inner in tree.values() if isinstance(tree, dict) else tree:
            _check_depth(inner, left - 1)


def _unique(pairs: list[tuple[str, object]]) -> Tree:
    repeated = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if repeated:
        raise ValueError(f"{repeated[0]!r} is given twice")
    return dict(pairs)
