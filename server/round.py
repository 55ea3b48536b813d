"""One federated round, top to bottom in the order in which it happens: `run_round`.

    1. sample     S_t: every user independently with probability q, or by turns (dp_ftrl)
    2. ask        theta_t to S_t; back comes what each clipped (local trust: and noised) itself, or,
                  by secure aggregation, nothing but the sum of that
    3. combine    the sum over i in S_t
    4. record     the event in the ledger, flushed to disk, before anything is released; where the
                  devices noise the sum before it can be known (`server.release.sums`)
    5. noise      + z C N(0, I), C of this round where it adapts (`server.release.clipping`), or the
                  round's row of correlated noise (dp_ftrl);
                  under local trust steps 4 and 5 happened on the devices
    6. average    / (q N), the expected cohort: every client weighs the same
    7. step       the server optimiser, on what the round trained
    8. keep       average of iterates
    9. refactor   the same model in the aggregation rule's coordinates: post-processing
   10. checkpoint state and ledger position, atomically
   11. select     the best iterate on validation (without noise; the one before the first round is
                  among them), or by a private metric

References
----------
McMahan et al. 2018, Learning Differentially Private Recurrent Language Models (DP-FedAvg).
Reddi et al. 2021, Adaptive Federated Optimization.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.serverapp import Grid

from server.checkpoint import ServerState, save
from server.cohort.sampling import Sampler, node_ids
from server.cohort.silence import Silence
from server.exchange import Exchange
from server.messages import ask
from server.optimizer import SQUARES, ServerOptimizer
from server.release.clipping import RoundClip
from server.release.metrics import PrivateMetrics
from server.release.moments import Moments
from server.release.releases import Releasing
from server.release.sums import Answers, Expected, ask_for_sum, connected
from server.run_policy import check_holds
from shared.aggregation import AggregationRule, Carried, rule_of
from shared.aggregation.travel import sent
from shared.config import ExperimentConfig
from shared.data.population import smallest
from shared.data.split import Phase
from shared.errors import EngineError
from shared.metrics import ranking_metrics, selection_score
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.units import update_limit
from shared.request import Request
from shared.update import Arrays

RoundEntry = dict[str, float]
Vector = npt.NDArray[np.float64]


@dataclass
class Run:
    """What all rounds of one point share, and the state that each of them advances.

    Attributes
    ----------
    grid : Grid
        Flower's, or any engine's.
    asking : Request
        What every request of the run has in common: settings, population, policy, and whether one
        reply may sum several clients, as in a simulation alone.
    schema : AdapterSchema
    state : ServerState
        Fresh, or from a checkpoint; advanced in place.
    sampler : Sampler
    releases : Releasing
        Mechanisms, ledger and noise: the only way from a sum to a released one.
    metrics : PrivateMetrics
    checkpoint : Path
        Written after every round.
    on_round : callable
        Told of every completed round.
    """

    grid: Grid
    asking: Request
    schema: AdapterSchema
    state: ServerState
    sampler: Sampler
    releases: Releasing
    metrics: PrivateMetrics
    checkpoint: Path
    on_round: Callable[[RoundEntry], None]
    rule: AggregationRule = field(init=False)
    clip: RoundClip = field(init=False)
    optimizer: ServerOptimizer = field(init=False)
    silence: Silence = field(init=False)

    def __post_init__(self) -> None:
        self.rule = rule_of(self.config)
        self.silence = Silence(self.config.federation.fixed_rounds)
        self.clip = RoundClip(self.config, self.state)
        self.clip.completed(self.state.round_number)
        self.optimizer = ServerOptimizer(self.config.federation)
        self.optimizer.restore(self.state.optimizer)

    @property
    def config(self) -> ExperimentConfig:
        """The settings of the point."""
        return self.asking.config

    @property
    def simulated(self) -> bool:
        """Whether one process runs all nodes: they are its people, and may be summed there."""
        return self.asking.merge

    @cached_property
    def _late(self) -> dict[str, Vector]:
        """Exact moments as the adapter's tables; empty where there are none."""
        found = Moments.of(self.state, 0.0) if self.state.basis else None
        if found is None or not found.basis.exact:
            return {}
        return found.written(self.schema)

    def whole(self, adapter: Vector) -> Vector:
        """An iterate [dim] as it is ranked with and released: with what exact moments say.

        Rounds are trained without them. What a person is trained on is in these sums too, and
        without noise a model that sees them learns to lean on its own targets.
        """
        if not self._late:
            return adapter
        found = adapter.copy()
        for name, table in self._late.items():
            found[self.schema.slice_of(name)] = table
        return found

    @property
    def arrays(self) -> Arrays:
        """The current iterate as named float32 arrays."""
        return self.schema.split(self.state.adapter)


def run_round(run: Run, number: int) -> None:
    """One round, from the iterate before it to the one after it.

        theta_{t+1} = theta_t + step( (sum over i in S_t of clip_C(Delta_i) + z C N(0, I)) / (q N) )

    Parameters
    ----------
    run : Run
    number : int
        t, >= 1: the last completed round is the one before.

    Raises
    ------
    EngineError
        If the run's policy holds no more: nobody was asked.
    EngineError
        If a stretch of rounds held nothing, see `server.cohort.silence`. In a simulation already if
        devices were asked and all failed: nothing was recorded then.
    BudgetExceeded, LedgerError
        As `Releases.release`: nothing was released.
    """
    state = run.state
    check_holds(run.asking.policy, number)
    cohort = run.sampler.draw(number, _there(run))  # 1
    exchange = Exchange(run.rule, run.schema, number, cohort)
    answers = _ask(run, exchange, number)  # 2
    total = run.rule.combine(answers.updates, exchange.summed.dim)  # 3
    replies = answers.replies
    if run.simulated:
        replies.check_some_counted(f"round {number}")
    noised = total
    if answers.are_enough:  # else nothing was opened: the round is skipped
        expected = run.sampler.expected
        sums = total, replies.bits, expected, number, answers.form
        noised = run.clip.release(run.releases, *sums)  # 4, 5
        state.adapter = _step(run, number, noised / expected, exchange.summed)  # 6, 7
    state.round_number = number
    run.clip.completed(number)
    state.ledger = run.releases.position()
    _keep_average(run, number)  # 8
    _refactor(run)  # 9
    entry = _entry(run, number, answers, total, noised)
    if run.simulated:
        state.history.append(entry)
    if not (run.simulated and _measures(run, number)):
        # Else one checkpoint covers step and selection: a simulation repeats both alike.
        save(state, run.checkpoint)  # 10
    run.on_round(entry)
    _select(run, number, entry)  # 11
    if not run.simulated:
        said = [*(f"declined ({word})" for word in replies.declined), *replies.failures]
        try:
            run.silence.heard(number, run.sampler.expected, len(replies.answered), said)
        except EngineError:
            state.silent = True
            save(state, run.checkpoint)
            raise


def _there(run: Run) -> Sequence[int]:
    sampler = run.sampler
    return connected(run.grid, run.asking, "update", sampler.expected / sampler.users)


def _ask(run: Run, exchange: Exchange, number: int) -> Answers:
    """Step 2: the round's exchange with its cohort, replies checked as they are read."""
    request = replace(
        run.asking,
        release="update",
        round_number=number,
        merge=run.simulated and run.rule.linear,
        clip=run.clip.adapted,
    )
    summed, limit = exchange.summed, update_limit(run.config, run.clip.adapted)
    each = exchange.opener(run.arrays, limit)
    expected = Expected(summed.digest, summed.dim, limit, each)
    addressed = exchange.addressed(request, run.arrays)
    return ask_for_sum(run.grid, addressed, expected, run.releases, simulated=run.simulated)


def _step(run: Run, number: int, mean: Vector, summed: AdapterSchema) -> Vector:
    """Step 7, in the coordinates of what is summed."""
    rule, adapter = run.rule, run.state.adapter
    where = rule.space(run.schema).places(summed)
    moved = run.optimizer.step(number, rule.enter(run.schema, adapter), mean, where)
    return rule.leave(run.schema, moved, adapter)


def _keep_average(run: Run, number: int) -> None:
    settings, state = run.config.federation, run.state
    if number > settings.fixed_rounds * (1 - settings.average_last):
        state.average = run.rule.enter(run.schema, state.adapter) + (
            state.average if state.averaged else 0.0
        )
        state.averaged += 1


def _refactor(run: Run) -> None:
    """Write the model in the coordinates that the rule wants, and with it all that is kept."""
    state = run.state
    moments, averages = run.optimizer.state(), {"average": state.average}
    squares = {name: moments.pop(name) for name in SQUARES if name in moments}
    sums = {**moments, **(averages if state.averaged else {})}
    new = run.rule.refactor(run.schema, Carried(state.adapter, sums, squares, state.averaged))
    state.adapter = new.adapter
    state.average = new.sums.get("average", state.average)
    run.optimizer.restore({**{name: new.sums[name] for name in moments}, **new.squares})
    state.optimizer = run.optimizer.state()


def _entry(run: Run, number: int, answers: Answers, total: Vector, noised: Vector) -> RoundEntry:
    """What the evaluator of a simulation is told; on real nodes nothing of it is computed."""
    if not run.simulated:
        return {"round": float(number)}
    signal, noise = (float(np.linalg.norm(of)) for of in (total, noised - total))
    replies = answers.replies
    if answers.form and (came := answers.form.noise_norm(len(replies.answered), total.size)):
        signal, noise = math.sqrt(max(0.0, signal**2 - came**2)), came  # it came with its noise
    return {
        "round": float(number),
        "participants": float(len(replies.answered)),
        "failures": float(len(replies.failures)),
        "signal_norm": signal,
        "noise_norm": noise,
    }


def _validates(run: Run, number: int) -> bool:
    every = run.config.federation.evaluate_every
    return not run.releases.private and every > 0 and number % every == 0


def _measures(run: Run, number: int) -> bool:
    return _validates(run, number) or run.metrics.due(number)


def _select(run: Run, number: int, entry: RoundEntry) -> None:
    """Step 11: exact validation on non-private points; private metrics where they are agreed."""
    if run.metrics.due(number):
        measure_privately(run, run.state.adapter, number)
    elif _validates(run, number):
        iterate = run.whole(run.state.adapter)
        metrics = evaluated(run, iterate, "validation")
        if not metrics:
            return
        _prefer(run, iterate, selection_score(metrics))
        entry |= {name: metrics[name] for name in ("hr@10", "ndcg@10")}
        save(run.state, run.checkpoint)
        run.on_round(entry)


def consider_start(run: Run) -> None:
    """Step 11 for the iterate before the first round: where training does not pay, it is kept."""
    if run.simulated and not run.state.round_number and _validates(run, 0):
        iterate = run.whole(run.state.adapter)
        _prefer(run, iterate, selection_score(evaluated(run, iterate, "validation")))
        save(run.state, run.checkpoint)


def _prefer(run: Run, adapter: Vector, score: float) -> None:
    if run.rule.personal(run.schema.names):
        return  # what devices keep goes with the last iterate alone
    if score > run.state.best_score:
        run.state.best, run.state.best_score = adapter.copy(), score


def measure_privately(run: Run, adapter: Vector, number: int) -> None:
    """Release private metrics of an adapter [dim], and select by them where that is agreed."""
    check_holds(run.asking.policy, number)
    down = sent(run.rule, run.schema.split(adapter))
    score = run.metrics.measure(run.grid, down, run.schema.digest, number)
    if run.metrics.selects:
        _prefer(run, adapter, score)
    run.state.ledger = run.releases.position()
    save(run.state, run.checkpoint)


def evaluated(run: Run, adapter: Vector, phase: Phase) -> dict[str, float]:
    """Ranking metrics over `data.evaluated_users`: evaluator only, not released.

    Empty where no real node gives any: whether one does must not end a run.
    """
    sampled, full = ranked(run, adapter, phase)
    return ranking_metrics(sampled, full) if run.simulated or full else {}


def ranked(run: Run, adapter: Vector, phase: Phase) -> tuple[list[int], list[int]]:
    """Everyone's sampled and full rank that those metrics are of, in the order of nodes."""
    chosen = smallest(node_ids(run.grid), run.config.data.evaluated_users)
    request = replace(
        run.asking,
        release="ranks",
        round_number=run.state.round_number,
        arrays=sent(run.rule, run.schema.split(adapter)),
        schema=run.schema.digest,
        phase=phase,
    )
    return ask(run.grid, request, chosen).ranks()
