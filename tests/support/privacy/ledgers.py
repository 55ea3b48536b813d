"""What a run leaves for `starling verify`: ledgers, released files and the claims, sealed."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save as save_tensors

from shared.config import (
    ExperimentConfig,
    FederationConfig,
    PrivacyConfig,
    SweepConfig,
    TrainConfig,
    at_epsilon,
    dump_toml,
    from_dict,
    settings_hash,
    to_dict,
)
from shared.data.protocol import Protocol
from shared.metrics import NOT_RELEASED, ranking_metrics
from shared.privacy.accounting.accountant import Side, calibrate
from shared.privacy.accounting.events import event_to_json
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.guarantee import USER_CENTRAL
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.ledger.budget import DeviceBudget
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger, LedgerHeader
from shared.privacy.ledger.promise import SEEDED, promise_of, promise_text
from shared.privacy.ledger.seal import digests, text_of, write_sealed
from shared.privacy.ledger.spent import Record, end_of, meaning_of
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.plan.plan import Plan, device_plan, server_plan
from shared.privacy.policy.issue import policy_of
from shared.privacy.policy.signed import signed
from shared.request import point_settings
from shared.run_files import DEVICES, RunFolder, point_name, run_files
from simulations.compare import stated_means, with_comparisons
from simulations.results import POPULARITY_FROM, Point
from simulations.results import Results as Run
from simulations.verify.stated import MACHINE as NAMES
from tests.support.privacy.guarantees import differing, promised

USERS, COHORT, DELTA, ROUNDS = 1000, 100.0, 1e-4, 4
Q = COHORT / USERS
ITEMS, NEGATIVES = 300, 99
MACHINE = dict.fromkeys(NAMES, "0")
EXPERIMENT = ExperimentConfig(
    federation=FederationConfig(rounds=ROUNDS, cohort=COHORT, secure_aggregation="off"),
    privacy=PrivacyConfig(histogram_share=0.2, clipping_norm=0.5),
    sweep=SweepConfig(epsilons=(2.0, math.inf), seeds=(0, 1), references=()),
)
# Devices with noise of their own, and which rounds each of them took part in.
LOCAL = replace(
    EXPERIMENT,
    privacy=PrivacyConfig(
        unit="example", trust="local", example_sampling=0.5, max_participations=3
    ),
    train=TrainConfig(local_steps=2),
)
BOTH = replace(
    EXPERIMENT, privacy=PrivacyConfig(unit="both", clipping_norm=0.5, example_epsilon=4.0)
)
# Correlated noise: everyone in at most two of four rounds.
DP_FTRL = replace(
    EXPERIMENT,
    privacy=PrivacyConfig(
        mechanism="dp_ftrl", min_separation=2, histogram_share=0.2, clipping_norm=0.5
    ),
)
DEVICES_ROUNDS = {0: (1, 2, 4), 1: (3,), 10: (), 2: (1, 4)}
Results = dict[str, Any]


def header(config: ExperimentConfig, delta: float = DELTA) -> LedgerHeader:
    """The header of the ledger of a point with these settings."""
    told = promised(config.privacy.epsilon, delta, adversary=USER_CENTRAL)
    return LedgerHeader(told, settings_hash(config))


def ledger_file(target: float, seed: int) -> str:
    return f"ledger-{point_name(target, seed)}.jsonl"


def write_point(
    folder: Path,
    target: float,
    seed: int,
    delta: float = DELTA,
    rounds: Sequence[int] = tuple(range(1, ROUNDS + 1)),
) -> Results:
    """What a run leaves for one point, by the same calls that a run makes."""
    config = at_epsilon(EXPERIMENT, target, seed)
    told = header(config, delta)
    found = calibrate(told.guarantee, len(rounds), Q, (Side(0.2),))
    noise, (histogram_noise,) = found.noise_multiplier, found.sides
    histogram = GaussianMechanism(histogram_noise, L2Clip(1.0)).event(1.0)
    update = GaussianMechanism(noise, L2Clip(0.5)).event(Q)
    ledger = Ledger.create(folder / ledger_file(target, seed), told)
    ledger.append(0, "histogram", histogram)
    for number in rounds:
        ledger.append(number, "update", update)
    return {
        "epsilon_target": target,
        "delta": delta,
        "unit": "user",
        "relation": "zero_out",
        "group_size": 1,
        "trust": "central",
        "adversary": USER_CENTRAL,
        "noise_multiplier": noise,
        "histogram_noise_multiplier": histogram_noise,
        "rounds": len(set(rounds)),
        "sampling_probability": Q,
        "steps": 1,
        "updates": ROUNDS,
        "histogram_sampling": 1.0,
        "cohort": COHORT,
        "clipping_norm": 0.5,
        "releases": {
            "update": {"event": event_to_json(update), "times": ROUNDS},
            "histogram": {"event": event_to_json(histogram), "times": 1},
        },
        "seed": seed,
        **measured(0.4 + 0.1 * seed),
        **ended(ledger),
        **write_adapter(folder, config, (ledger,)),
    }


def ranked(hit: float) -> Results:
    """Metrics of so many people of whom a share is hit, in the first place; the others are last."""
    sampled = np.where(np.arange(USERS) < hit * USERS, 0, NEGATIVES).tolist()
    return {
        "metrics": ranking_metrics(sampled, sampled),
        "ranks": {"sampled": sampled, "full": sampled},
        "metrics_status": NOT_RELEASED,
    }


def measured(hit: float) -> Results:
    """What a simulation states of a point besides its guarantee, all that it ranks alike."""
    own = ranked(hit)
    return {
        **own,
        "validation": own["metrics"],
        "history": [],
        "seconds": 1.0,
        "trained_parameters": 4,
        "communication_bytes": {"up": 1, "down": 1},
        "environments": [MACHINE],
        "references": {"start": ranked(0.3)},
    }


def ended(record: Record, config: ExperimentConfig | None = None) -> Results:
    """What is claimed of a record; the accountants that only compare are left out."""
    found: Results = {"epsilon": record.epsilon(), "ledger": end_of(record)}
    if math.isfinite(record.epsilon()):
        found["meaning"] = meaning_of(record, config or EXPERIMENT, USERS).stated()
    return found


def write_adapter(
    folder: Path, config: ExperimentConfig, records: Sequence[Record], *, noise: str = SEEDED
) -> Results:
    """An adapter with its promise and the histogram beside it, and what a point says of them."""
    files = run_files(folder, point_name(config.privacy.epsilon, config.seed))
    kept = [(record.header.guarantee, record) for record in records]
    promise = promise_of(kept, settings_hash(config), seeded=noise == SEEDED)
    for file in (files.adapter, files.popularity):
        file.parent.mkdir(exist_ok=True)
    tensor = {"weight": np.full(4, config.seed, dtype=np.float32)}
    told = {"settings": point_settings(config), "promise": promise_text(promise)}
    files.adapter.write_bytes(save_tensors(tensor, metadata=told))
    if math.isfinite(config.privacy.epsilon) or records[0].header.guarantee.trust == "local":
        files.popularity.write_bytes(save_tensors({"counts": np.arange(float(ITEMS))}))
    files.settings.write_text(dump_toml(config))
    key = load_or_create_signing_key()
    policy = policy_of(config, USERS, "0" * 64, public_hex(key), datetime.now(UTC), 1)
    files.policy.write_text(signed(policy, key))
    return {"noise": noise, "adapter": str(files.adapter.relative_to(folder))}


def write_promised(folder: Path, experiment: ExperimentConfig, target: float) -> Results:
    """What a run leaves for a point of any unit and trust, with seed 0."""
    config = at_epsilon(experiment, target, 0)
    server, device = server_plan(config, USERS), device_plan(config, USERS)
    records: list[Record] = []
    if server is not None:
        records.append(write_server(folder, config, server))
    if device is not None:
        records.append(write_devices(folder, config, device))
    plans = [plan for plan in (server, device) if plan is not None]
    claims = [_claim(plan, record, config) for plan, record in zip(plans, records, strict=True)]
    if len(claims) == 2:
        claims[0]["example"] = claims[1]
    common = {"rounds": ROUNDS, "cohort": COHORT, "seed": 0, **measured(0.4)}
    common |= write_adapter(folder, config, records)
    return {**claims[0], **common}


def write_server(folder: Path, config: ExperimentConfig, plan: Plan) -> Ledger:
    """The server's ledger of a whole run."""
    path = folder / ledger_file(config.privacy.epsilon, config.seed)
    ledger = Ledger.create(path, LedgerHeader(plan.guarantee, settings_hash(config)))
    for planned in plan.releases:
        if planned.kind not in ("update", "metrics"):
            ledger.append(0, planned.kind, planned.event)
    for number in range(1, plan.updates + 1):
        ledger.append(number, "update", plan.planned("update").event)
    for planned in plan.releases:
        if planned.kind == "metrics":
            for number in range(plan.updates - planned.times + 1, plan.updates + 1):
                ledger.append(number, planned.kind, planned.event)
    return ledger


def write_devices(folder: Path, config: ExperimentConfig, plan: Plan) -> DeviceLedgers:
    """The devices' ledgers of a whole run, by the guard that devices use."""
    place = devices_folder(folder, config.privacy.epsilon)
    for user, rounds in DEVICES_ROUNDS.items():
        budget = DeviceBudget(place / f"{user}.jsonl", plan, settings_hash(config), (0, user))
        budget.spend_histogram()
        for number in rounds:
            budget.spend_update(number)
    return DeviceLedgers.open(place)


def devices_folder(folder: Path, target: float) -> Path:
    return folder / DEVICES / point_name(target, 0)


def _claim(plan: Plan, record: Record, config: ExperimentConfig) -> Results:
    told = plan.guarantee.stated()
    names = (
        "noise_multiplier",
        "sampling_probability",
        "steps",
        "updates",
        "histogram_noise_multiplier",
    )
    names += ("histogram_sampling", "metrics_noise_multiplier", "metrics_sampling")
    stated = {name: getattr(plan, name) for name in names}
    found = {"clipping_norm": plan.clip.norm}
    found["releases"] = {
        at.kind: {"event": event_to_json(at.event), "times": at.times} for at in plan.releases
    }
    found["correlation"] = plan.correlation.stated() if plan.correlation else None
    return told | stated | found | ended(record, config)


def write_promised_run(folder: Path, experiment: ExperimentConfig) -> Path:
    """A complete run of any unit and trust: epsilon 2 and none."""
    config = replace(experiment, sweep=SweepConfig((2.0, math.inf), (0,), references=()))
    points = [write_promised(folder, config, target) for target in config.sweep.epsilons]
    save(folder, results_of(points, config))
    return folder


def write_run(folder: Path, delta: float = DELTA) -> Path:
    """A complete run of four points."""
    points = [
        write_point(folder, target, seed, delta)
        for seed in EXPERIMENT.sweep.seeds
        for target in EXPERIMENT.sweep.epsilons
    ]
    save(folder, results_of(points))
    return folder


def results_of(points: list[Results], config: ExperimentConfig = EXPERIMENT) -> Results:
    for point in points:
        target, trust = point["epsilon_target"], point["trust"]
        if "histogram" in point["releases"] and (math.isfinite(target) or trust == "local"):
            alone = {**ranked(0.2), "computed_from": POPULARITY_FROM}
            alone["validation"] = alone["metrics"]
            point["references"]["popularity_private"] = alone
    done, _ = with_comparisons([Point(point) for point in points], {})
    data = {"spec": "d", "name": "d", "users": USERS, "items": ITEMS, "interactions": 5 * USERS}
    opening = {
        "schema": 1,
        "starling": "0",
        "environment": MACHINE,
        "data": data | Protocol.of([5] * USERS, ITEMS, NEGATIVES).stated(),
        "config": to_dict(config),
    }
    means = stated_means(done)
    run = Run.of(opening | {"points": []}).having(done, {}, complete=True, compared=means)
    found: Results = json.loads(text_of(run.stated))
    return found


def unfinished(results: Results, points: list[Results]) -> Results:
    """As an interrupted run writes it, of so many points."""
    means = stated_means([Point(point) for point in points])
    return {**results, "complete": False, "points": points, "compared": means}


def save(folder: Path, results: Results, key: Ed25519PrivateKey | None = None) -> None:
    """Sealed by the operator, whatever it claims: only what verify compares remains to catch it."""
    run = RunFolder(folder)
    if not run.settings.exists():
        run.settings.write_text(dump_toml(from_dict(results["config"])))
    for table in run.tables:  # what is made of the results before
        table.unlink(missing_ok=True)
    for shown in (run.curve, run.report):
        shown.unlink(missing_ok=True)
        if results.get("complete") is not False:
            shown.write_bytes(b"")
    done = tuple(f"{Path(str(point.get('adapter'))).stem}." for point in results["points"])
    files = [at for at in run.handed_on() if at.parent == folder or at.name.startswith(done)]
    write_sealed(run.results, results, digests(folder, files), key)


def load(folder: Path) -> Results:
    results: Results = json.loads((folder / "results.json").read_text())
    return results


def first_ledger(run: Path) -> Path:
    return run / str(load(run)["points"][0]["ledger"]["file"])


def rewrite(run: Path, key: Ed25519PrivateKey | None) -> None:
    """A whole new ledger: all sealed anew if there is a key, else with twice the noise."""
    results = load(run)
    point, path = results["points"][0], first_ledger(run)
    old = Ledger.open(path)
    path.unlink()
    new = Ledger.create(path, differing(old.header, budget=2.0))
    z = (2 if key is None else 1) * point["noise_multiplier"]
    for entry in old.entries:
        event = GaussianMechanism(z, L2Clip(1.0)).event(Q) if entry.round else entry.event
        new.append(entry.round, entry.release, event)
    if key is not None:
        config = at_epsilon(EXPERIMENT, 2.0, 0)
        point |= {"noise_multiplier": z, **ended(new), **write_adapter(run, config, (new,))}
        event = event_to_json(GaussianMechanism(z, L2Clip(1.0)).event(Q))
        point["releases"]["update"]["event"] = event
        save(run, results, key)
