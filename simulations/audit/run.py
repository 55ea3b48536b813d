"""The audit of a run's folder: its files, replays of its points, attacks on what they release."""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from safetensors.numpy import load_file

from shared.config import ExperimentConfig, at_epsilon
from shared.errors import ConfigError, ModelError, StarlingError
from shared.privacy.ledger.seal import digests, sealed_files, signer
from shared.privacy.plan.plan import server_plan
from shared.run_files import RunFolder, run_files
from simulations.audit.attacks import reconstruction
from simulations.audit.attacks.halves import audited, memberships, released_without
from simulations.audit.attacks.membership import Membership, membership
from simulations.audit.attacks.scene import Scene
from simulations.audit.bounds import bounds, held_out, noise_off
from simulations.audit.checks import devices, noise, people
from simulations.audit.checks.risk import FILES, REPLAY, RISK
from simulations.audit.findings import Finding
from simulations.audit.outcome import UNCOVERED, Part
from simulations.audit.people import People, opened
from simulations.audit.replay.observed import Observed
from simulations.audit.replay.replay import Replay
from simulations.audit.replay.same import REPRODUCED, arrays_of, reproduced
from simulations.audit.static import examined, of_one
from simulations.audit.threats import BLACK_BOX
from simulations.results import Point, Results
from simulations.verify.run import VerifyReport, verify_run

Say = Callable[[str], None]

VERIFIED = "claims, ledgers and files"
_BANDS = (1000, 500, 200, 100, 50, 20, 10)  # of interactions
_MOST_PEOPLE = 20_000  # of a replay, whose messages are all in memory


@dataclass(frozen=True)
class Depth:
    """How much is looked at.

    Attributes
    ----------
    quick : bool
        One private point, one replay of it, no attack that trains models of its own.
    canaries : int
        At most so many people of a replay, and at most half of them.
    runs : int
        On halves of the people, for membership.
    targets : int
        People whose items are looked for.
    confidence : float
        Of each bound and interval.
    """

    quick: bool = False
    canaries: int = 500
    runs: int = 8
    targets: int = 100
    confidence: float = 0.95

    def stated(self) -> dict[str, object]:
        """As `audit.json` has it."""
        return {**dataclasses.asdict(self), "risk": RISK}


def band(interactions: int) -> str:
    """About how many: an exact number would name somebody to whoever knows a log."""
    least = next((each for each in _BANDS if interactions >= each), 0)
    return f"{least} or more" if least else f"fewer than {_BANDS[-1]}"


def subject(directory: Path, results: Results) -> dict[str, object]:
    """What identifies a run: its name, and the SHA-256 of its results, which seal all else."""
    file = RunFolder(directory).results
    digest = digests(directory, [file])[file.name]
    ledgers = digests(directory, RunFolder(directory).ledgers())
    return {
        "kind": "simulation" if results.simulated else "deployment",
        "name": directory.resolve().name,
        "file": file.name,
        "sha256": digest,
        "files": {file.name: digest, **sealed_files(results.stated), **ledgers},
        "sealed_by": signer(results.stated),
        "data": results.data.get("name"),
    }


def run_parts(directory: Path, key: str | None, depth: Depth, say: Say) -> Iterator[Part]:
    """The parts of the audit of a run's folder, as they are done.

    Parameters
    ----------
    directory : Path
    key : str, optional
        The operator's, that must have sealed it; see `verify_run`.
    depth : Depth
    say : callable
        Told what is being done.

    Raises
    ------
    DataError, ConfigError, ModelError
        If it is no run, or the model that it was trained with is not here.
    """
    say("reading ledgers and asking the accountants")
    files = _of_files(verify_run(directory, key))
    results = Results.read(RunFolder(directory).results)
    private = _private(results)
    yield replace(files, findings=(*files.findings, *_uncovered(results, private)))
    if not private:
        words = "No point of this run promises anything: none has noise and a budget"
        nothing = Finding("promise", "not shown", FILES, words, required=True)
        yield Part("points", "Nothing is replayed.", findings=(nothing,))
    else:
        say("opening data and model")
        audited_run = _Run(directory, results, opened(directory, results), depth, say)
        for point in private[:1] if depth.quick else private:
            yield audited_run.replayed(point)
        if not depth.quick:
            yield from audited_run.attacked(private[-1])


def _of_files(report: VerifyReport) -> Part:
    about = "The run's folder alone, as starling verify reads it."
    reasons = [f"{row.point}: {why}" for row in report.rows for why in row.reasons]
    found = Finding(VERIFIED, "holds", FILES, "", required=True)
    if not report.ok:
        words = [*report.problems, *reasons][0]
        found = replace(found, verdict="violated", words=words)
    elif report.exit_code:
        words = f"They agree as far as they go; the run is {report.signer}"
        if not report.complete:
            words = f"{len(report.rows)} of {report.planned} points are finished"
        found = replace(found, verdict="not shown", words=words)
    else:
        words = f"They agree in all {len(report.rows)} guarantees; the run is {report.signer}"
        found = replace(found, words=words)
    return Part("files", about, findings=(found,))


def _private(results: Results) -> list[Point]:
    """One point for each finite epsilon: that of its first seed, the smallest epsilon first."""
    found: dict[float, Point] = {}
    for point in sorted(results.points, key=lambda each: each.order):
        if any(claim.private for claim in point.claims):
            found.setdefault(point.target, point)
    return list(found.values())


def _uncovered(results: Results, private: list[Point]) -> list[Finding]:
    """What stands in the same folder, and is promised to nobody."""
    bare = sum(not any(claim.private for claim in point.claims) for point in results.points)
    if not (bare and private):
        return []
    words = (
        f"{bare} of {len(results.points)} points promise nothing and are not covered: people can "
        "be found in what they released"
    )
    return [Finding(UNCOVERED, "not shown", FILES, words)]


@dataclass(frozen=True)
class _Run:
    """A run, on whose data it is looked at, and how."""

    directory: Path
    results: Results
    there: People
    depth: Depth
    say: Say

    def config_of(self, epsilon: float, seed: int) -> ExperimentConfig:
        """A point's settings as they are replayed: unmasked."""
        config = at_epsilon(self.there.config, epsilon, seed)
        federation = config.federation
        if federation.secure_aggregation == "on":  # the sums are the same to the last bit
            federation = replace(federation, secure_aggregation="auto")
        return replace(config, federation=federation)

    def replayed(self, point: Point) -> Part:
        """What replays of a private point show."""
        seed, target = cast("int", point.get("seed")), point.target
        name, config = self.results.point_files(target, seed), self.config_of(target, seed)
        about = f"Its settings, run again {self.there.words}, and watched from outside."
        claimed = {
            each: point.get(each) for each in ("unit", "trust", "delta", "relation", "adversary")
        }
        claimed |= {"epsilon": point.number("epsilon"), "target": target}
        try:
            checked = self._nobody(config, name)
            observed, found = self._watched(config, name)
        except StarlingError as error:
            refused = Finding("replay", "not shown", REPLAY, str(error), required=True)
            return Part(name, about, claimed, (refused,))
        self.say(f"{name}: bounds")
        found += bounds(observed, self.depth.confidence)
        if self.results.simulated:
            found.append(self._again(name, at_epsilon(self.there.config, target, seed)))
        of_server, of_device = (plan is not None for plan in (observed.plan, observed.device))
        required = {
            noise.SCALE: of_server,
            people.CLIP: of_server,
            devices.DEVICES: of_device,
            people.TURNS: observed.plan is not None and observed.plan.correlation is not None,
            REPRODUCED: True,
        }
        found = [replace(each, required=required.get(each.name, False)) for each in found]
        checked += noise_off(observed, self.depth.confidence)
        return Part(name, about, claimed, tuple(found), tuple(checked))

    def _replay(self, config: ExperimentConfig) -> tuple[Replay, int, float]:
        """What runs it again, with how many canaries at most, and how many devices lost."""
        everybody, privacy = len(self.there.simulation.population), config.privacy
        if everybody > _MOST_PEOPLE:
            raise ConfigError(f"{everybody} people: a replay holds messages of {_MOST_PEOPLE}")
        replay, some = (
            Replay(config, self.there.simulation),
            min(self.depth.canaries, everybody // 2),
        )
        if privacy.trust != "distributed":
            return replay, some, 0.0
        share = privacy.min_survivors if (privacy.min_survivors or 1) < 1 else None
        lost = max(0.0, (1 - share) / 2 - privacy.colluding) if share else 0.0
        return replay, everybody, lost  # all are known then, though no message is

    def _nobody(self, config: ExperimentConfig, name: str) -> list[Finding]:
        """Whether guesses find somebody where no canary is in."""
        replay, some, lost = self._replay(config)
        self.say(f"{name}: replaying with no canary in")
        return held_out(replay.held_out(replay.canaries(some), lost))

    def _watched(self, config: ExperimentConfig, name: str) -> tuple[Observed, list[Finding]]:
        """What one replay shows; and, where single messages are in the clear, neighbours."""
        replay, some, lost = self._replay(config)
        canaries = replay.canaries(some)
        self.say(f"{name}: replaying")
        if self.depth.quick or config.privacy.trust != "central":
            observed = replay.run(canaries, lost=lost)
            return observed, of_one(observed)
        observed, found = examined(replay, canaries)
        self.say(f"{name}: replaying with odd histories")
        odd = bounds(replay.run(replay.canaries(some, natural=True)), self.depth.confidence)
        return observed, [*found, *(each for each in odd if each.threat_model == BLACK_BOX)]

    def _again(self, name: str, config: ExperimentConfig) -> Finding:
        """Whether the run's own adapter comes of its settings: else replays are of code alone."""
        if not self.there.own:
            words = "The run's own people are not here: it cannot be run again as it was"
            return Finding(REPRODUCED, "not shown", REPLAY, words)
        self.say(f"{name}: running it again as it was")
        run = run_files(self.directory, name)
        with tempfile.TemporaryDirectory() as folder:
            again = released_without(self.there.simulation, config, [], Path(folder))
            start = load_file(run_files(Path(folder), name).initial)
        try:
            return reproduced(arrays_of(run.adapter), again.adapter, start)
        except ModelError as error:
            return Finding(REPRODUCED, "not shown", REPLAY, str(error))

    def attacked(self, point: Point) -> Iterator[Part]:
        """Attacks on a point; and, to see what they can do, on the same without noise."""
        seed = cast("int", point.get("seed"))
        for epsilon in (point.target, math.inf):
            config = audited(self.config_of(epsilon, seed))
            name = f"attacks at epsilon {epsilon:g}"
            about = f"Who was in, and items, {self.there.words}"
            if math.isfinite(epsilon):
                about += "."
            else:
                about += "; without noise, as nobody is promised: what these attacks can find."
            try:
                found, worst = self._attacks(config, name)
            except StarlingError as error:
                found, worst = [Finding("attacks", "not shown", REPLAY, str(error))], ()
            claimed = {"epsilon": epsilon} if math.isfinite(epsilon) else {}
            yield Part(name, about, claimed, tuple(found), worst=worst)

    def _attacks(
        self, config: ExperimentConfig, name: str
    ) -> tuple[list[Finding], tuple[dict[str, object], ...]]:
        self.say(f"{name}: items")
        found, scene = list[Finding](), Scene(self.there.simulation, config)
        for seen in (*scene.of_releases(), *scene.of_the_server()):
            of = (seen.sent, scene.mine, scene.items, seen.views, seen.readers)
            leaks = reconstruction.leaks(*of, min(self.depth.targets, len(scene.keys)))
            found += reconstruction.findings(leaks, seen.views)
        members = self._members(config, name)
        worst = tuple(
            {"interactions": band(each.interactions), "shift": each.shift, **vars(each.right)}
            for each in members.worst
        )
        return [*members.findings, *found], worst

    def _members(self, config: ExperimentConfig, name: str) -> Membership:
        simulation = self.there.simulation
        keys = list(simulation.users)
        bits, released = memberships(self.depth.runs, len(keys), config.seed), []
        for number, row in enumerate(bits):
            self.say(f"{name}: who was in, run {number + 1} of {len(bits)}")
            out = [key for key, within in zip(keys, row, strict=True) if not within]
            again = replace(config, seed=config.seed + number)
            with tempfile.TemporaryDirectory() as folder:
                released.append(released_without(simulation, again, out, Path(folder)))
        plan = server_plan(config, len(keys))
        promised = plan.guarantee if plan and plan.guarantee.unit == "user" else None
        engine = simulation.engine(config.model)
        return membership(engine, config, released, bits, promised, self.depth.confidence)
