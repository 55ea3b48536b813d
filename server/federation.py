"""A whole federated run: initial adapter, popularity start, rounds, final evaluation, outcome.

Without rounds it is the same run: what was released before the first is the whole model.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from server.checkpoint import ServerState, load
from server.checkpoint import save as save_state
from server.cohort.participation import LeastRecent, LimitedSampler, Participations
from server.cohort.sampling import PoissonSampler, Sampler, node_ids
from server.exchange import Exchange
from server.release.metrics import PrivateMetrics
from server.release.moments import public_basis, start_from_moments
from server.release.popularity import (
    BIAS,
    first_iterate,
    start_from_popularity,
)
from server.release.releases import AlreadyPrivate, Releases, Releasing
from server.release.sums import check_cohorts, connected
from server.release.traffic import expected_bytes
from server.results import promise, refuse_another, write_results
from server.round import (
    RoundEntry,
    Run,
    consider_start,
    evaluated,
    measure_privately,
    ranked,
    run_round,
)
from server.run_policy import agreed_users, run_policy
from shared.aggregation import AggregationRule, rule_of
from shared.config import ExperimentConfig, settings_hash
from shared.errors import ConfigError, EngineError, LedgerError
from shared.files import make_folder, write_atomically
from shared.metrics import NOT_RELEASED, ranking_metrics
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.moments import exact_basis
from shared.privacy.contribution.units import histogram_in_clear, sums_in_ring
from shared.privacy.guarantee import HISTOGRAM_IN_CLEAR
from shared.privacy.ledger.promise import Tree, promise_text
from shared.privacy.plan.correlation import correlation
from shared.privacy.plan.plan import Plan, device_plan, server_plan
from shared.privacy.plan.summed import noise_heard
from shared.request import SUMMED, Request, point_settings
from shared.run_files import RunFiles
from shared.update import Arrays

Vector = npt.NDArray[np.float64]
_MOMENTS = 0x6D6F6D65  # of the sample that is asked for them: it must not be that of another kind


def run_federation(
    grid: Grid,
    config: ExperimentConfig,
    files: RunFiles,
    *,
    simulated: bool,
    on_round: Callable[[RoundEntry], None] = lambda entry: None,
    policy: Path | int = 0,
) -> dict[str, Any]:
    """Run all rounds and write the released adapter and the outcome.

    Parameters
    ----------
    grid : Grid
        Flower's, or any engine's.
    config : ExperimentConfig
        The settings of one point.
    files : RunFiles
        A checkpoint found there is continued.
    simulated : bool
        Seeded noise and sampling, and evaluation of held-out items on the clients.
    on_round : callable
        Told of every completed round.
    policy : Path or int
        A signed policy made beforehand, for this point; or how many people the one rests on that
        is made now, with the operator's key. 0: all that are connected when the run starts.

    Returns
    -------
    dict
        What `results.json` holds of a point, as far as the server knows it.

    Raises
    ------
    ConfigError
        If there are too few clients, the settings contradict each other, or the policy is another
        point's.
    EngineError
        As `server.round.run_round`; without rounds, if there is no histogram either.
    """
    started = time.monotonic()
    run = _opened(grid, config, files, on_round, policy, simulated=simulated)
    state = run.state
    if not simulated:  # never less than this, should it be interrupted
        write_results(config, run.sampler.users, files, None)
    if config.federation.fixed_rounds:
        consider_start(run)
    for number in range(state.round_number + 1, config.federation.fixed_rounds + 1):
        run_round(run, number)
    adapter = _released(run)
    carried = promise(config, run.sampler.users, files, seeded=simulated)
    _save_adapter(run.schema.split(adapter), point_settings(config), carried, files.adapter)
    outcome = _outcome(config, run, load_file(files.initial)) | {"noise": carried["noise"]}
    if run.releases.private and len(state.popularity):  # a release too: it may be used as it is
        write_atomically(files.popularity, save({"counts": state.popularity}))
    if run.releases.private and len(state.moments):
        write_atomically(files.moments, save({"total": state.moments, **state.basis}))
    if released := run.metrics.released():
        outcome["released_metrics"] = released
    if simulated:
        outcome["validation"] = evaluated(run, adapter, "validation")
        sampled, full = ranked(run, adapter, "test")
        outcome["metrics"] = ranking_metrics(sampled, full)
        outcome["ranks"] = {"sampled": sampled, "full": full}  # for comparisons over people
        outcome["history"] = state.history  # cohort sizes and exact norms: the evaluator's too
        outcome["metrics_status"] = NOT_RELEASED
        outcome["seconds"] = time.monotonic() - started  # which cohorts' sizes show in
    write_atomically(files.outcome, json.dumps(outcome))  # infinity inside: read by json.loads
    if not simulated:  # a simulation's, of all its points, are the sweep's
        write_results(config, run.sampler.users, files, outcome)
    return outcome


def _opened(
    grid: Grid,
    config: ExperimentConfig,
    files: RunFiles,
    on_round: Callable[[RoundEntry], None],
    policy: Path | int,
    *,
    simulated: bool,
) -> Run:
    """The run as its first round finds it: fresh from popularity, or from its checkpoint."""
    nodes, seed = node_ids(grid, 0 if simulated else 1), config.seed if simulated else None
    if not nodes and not files.checkpoint.exists():
        raise ConfigError("no client is connected: start clients, then the run")
    if not simulated:
        refuse_another(files)
    made = None if isinstance(policy, int) else policy
    users = len(nodes) if simulated else agreed_users(policy, files.policy, len(nodes))
    arrays = _initial(files)
    schema = AdapterSchema.of_arrays(arrays)
    releases = _releases(config, users, files, simulated)
    text = run_policy(config, users, schema.digest, files.policy, made)
    asking = Request("", config, users, settings_hash(config), text, merge=simulated)
    sampler = _sampler(config, users, files, releases.last_round, simulated)
    _check_ring(config, schema, releases)
    if plan := server_plan(config, users):
        check_cohorts(asking, [planned.kind for planned in plan.releases if planned.kind in SUMMED])
    state = _resumed(files, releases, config.federation.fixed_rounds, simulated)
    if state is None:
        state = ServerState(adapter=first_iterate(config, users, arrays, np.zeros(0)))
        if config.federation.popularity_start and not releases.is_spent("histogram"):
            expected = config.federation.expected_popularity_cohort(users)
            there = connected(grid, asking, "histogram", expected / users)
            asked = PoissonSampler(expected, users, seed).draw(0, there)
            start_from_popularity(grid, asking, asked, schema, state, releases)
        save_state(state, files.checkpoint)
    if not (config.federation.fixed_rounds or len(state.popularity)):
        raise EngineError(
            f"{files.adapter}: no popularity histogram was released, and without rounds there is "
            "nothing else: too few devices answered for its noised sum to be opened, or it was "
            "lost in a crash after it was counted; start anew in another folder, with another "
            "seed, a larger federation.popularity_cohort or a smaller privacy.min_survivors"
        )
    _ask_for_moments(grid, asking, schema, state, releases, files)
    metrics = PrivateMetrics(asking, state, releases, seed)
    checkpoint = files.checkpoint
    return Run(grid, asking, schema, state, sampler, releases, metrics, checkpoint, on_round)


def _ask_for_moments(
    grid: Grid,
    asking: Request,
    schema: AdapterSchema,
    state: ServerState,
    releases: Releasing,
    files: RunFiles,
) -> None:
    """What people have together, where it is planned: before the first round, once."""
    config, users = asking.config, asking.users
    plan = server_plan(config, users)
    wanted = plan is not None and plan.of("moments") is not None
    if not wanted or state.round_number or len(state.moments) or releases.is_spent("moments"):
        return
    if not state.basis:
        where = schema.slice_of(BIAS)
        items = where.stop - where.start
        if math.isinf(config.privacy.epsilon):
            basis = exact_basis(state.popularity if len(state.popularity) else np.zeros(items))
        else:
            noise = noise_heard(config, users, "histogram", items)
            basis = public_basis(files.public, state.popularity, items, noise)
        state.basis = basis.arrays()
        save_state(state, files.checkpoint)
    expected = config.federation.expected_popularity_cohort(users)
    seed = config.seed if asking.merge else None
    there = connected(grid, asking, "moments", expected / users)
    asked = PoissonSampler(expected, users, seed, _MOMENTS).draw(0, there)
    start_from_moments(grid, asking, asked, schema, state, releases)
    save_state(state, files.checkpoint)


def _check_ring(config: ExperimentConfig, schema: AdapterSchema, releases: Releasing) -> None:
    """Refuse a ring that does not hold the sums of rounds, before anything is counted."""
    shares, rule = releases.shares("update"), rule_of(config)
    if shares is not None:
        for number in (1, 2):  # rules take turns of two
            shares.grid(Exchange(rule, schema, number, ()).summed.dim)


def _initial(files: RunFiles) -> Arrays:
    """The initial adapter; where the released one is going to lie is there too: an error now."""
    try:
        make_folder(files.adapter.parent)
        arrays: Arrays = load_file(files.initial)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        named = getattr(error, "filename", None) or files.initial
        raise ConfigError(f"{named}: cannot be read, or written ({reason})") from None
    return arrays


def _released(run: Run) -> Vector:
    """The adapter [dim] that is released, privately measured where that is agreed.

    It is the best, where iterates were selected, else the averaged, else the last one.
    """
    state, last = run.state, run.state.adapter
    if state.averaged:
        last = run.rule.leave(run.schema, state.average / state.averaged, state.adapter)
    if run.metrics.due_at_the_end:
        measure_privately(run, last, run.config.federation.fixed_rounds)
    return state.best if state.best_score >= 0 else run.whole(last)


def _releases(config: ExperimentConfig, users: int, files: RunFiles, simulated: bool) -> Releasing:
    """How sums become releases: noised and recorded here, or private when they arrive."""
    if config.federation.popularity_start and histogram_in_clear(config) and not simulated:
        raise ConfigError(
            f"federation.popularity_start = true: {HISTOGRAM_IN_CLEAR}; set it to false, "
            "and model.moments_rank, which rests on it, to 0"
        )
    plan = server_plan(config, users)
    if plan is not None:
        if files.checkpoint.exists() and not files.ledger.exists():  # a new one would hide that
            raise LedgerError(
                f"{files.ledger}: is missing, {files.checkpoint} is there; restore it"
            )
        seed = config.seed if simulated else None
        return Releases(plan, settings_hash(config), files.ledger, seed, files.noise_key)
    return AlreadyPrivate()


def _sampler(
    config: ExperimentConfig, users: int, files: RunFiles, last_round: int, simulated: bool
) -> Sampler:
    """Who takes part: secretly drawn, or by turns within the limits that the noise covers."""
    expected, seed = config.federation.expected_cohort(users), config.seed if simulated else None
    if config.privacy.mechanism == "gaussian" or not math.isfinite(config.privacy.epsilon):
        return PoissonSampler(expected, users, seed)
    limits = correlation(config, users)
    record = Participations(files.asked, limits.participations, limits.separation)
    if record.last_round < last_round:
        raise LedgerError(
            f"{files.asked}: ends in round {record.last_round}, {files.ledger} in round "
            f"{last_round}; without it nobody's limits can be kept. Restore it"
        )
    schedule = LeastRecent(expected, seed)
    return LimitedSampler(schedule, record, expected, users)


def _resumed(
    files: RunFiles, releases: Releasing, rounds: int, simulated: bool
) -> ServerState | None:
    """The state to continue from; None at the very start."""
    state = load(files.checkpoint)
    if state is None:
        return None
    if not releases.continues(*state.ledger):
        raise LedgerError(
            f"{files.ledger}: does not continue the ledger of {files.checkpoint}; one of them was "
            "replaced or cut"
        )
    if not simulated:
        # Recorded, then lost in a crash: with fresh noise a repetition would be a second release,
        # so the round counts as spent and the next one follows.
        state.round_number = max(state.round_number, releases.last_round)
    if state.silent and state.round_number >= rounds:
        raise EngineError(
            f"{files.checkpoint}: this run ended on rounds that held nothing, and its adapter "
            "would be noise alone; start anew in another folder"
        )
    state.silent = False
    return state


def _outcome(config: ExperimentConfig, run: Run, initial: Arrays) -> dict[str, Any]:
    users, state = run.sampler.users, run.state
    server, device = (plan(config, users) for plan in (server_plan, device_plan))
    plans = [plan.stated() for plan in (server, device) if plan is not None]
    # One guarantee, or two: what the server adds to what the devices already did.
    stated = plans[0] | ({"example": plans[1]} if len(plans) > 1 else {})
    return stated | {
        "rounds": state.round_number,
        "cohort": run.sampler.expected,
        "seed": config.seed,
        "communication_bytes": expected_bytes(run.asking, run.schema, initial),
        "trained_parameters": _ever_trained(rule_of(config), run.schema, state.round_number),
        **_opened_sums(config, server, state, simulated=run.simulated),
        **({"clipping_norms": state.clips, "clipping_bits": state.bits} if state.clips else {}),
    }


def _opened_sums(
    config: ExperimentConfig, server: Plan | None, state: ServerState, *, simulated: bool
) -> dict[str, dict[str, bool]]:
    """Whether enough devices were in each sum that is asked for once, where that alone is seen."""
    told = math.isfinite(config.privacy.epsilon)  # without noise nothing of it is handed on
    if server is None or not told or not sums_in_ring(config, simulated=simulated):
        return {}
    sums = {"histogram": state.popularity, "moments": state.moments}
    found = {kind: len(total) > 0 for kind, total in sums.items() if server.of(kind)}
    return {"opened": found} if found else {}


def _ever_trained(rule: AggregationRule, schema: AdapterSchema, rounds: int) -> int:
    """Coordinates that some round trains: rules take turns of two."""
    turns = range(1, min(rounds, 2) + 1)
    names = {name for turn in turns for name in rule.trained(schema.names, turn)}
    return schema.subset(tuple(names)).dim if names else 0


def _save_adapter(arrays: Arrays, settings: str, carried: Tree, file: Path) -> None:
    """An adapter and, in the same file, the settings that make it usable and its promise."""
    told = {"settings": settings, "promise": promise_text(carried)}
    write_atomically(file, save(dict(arrays), metadata=told))
