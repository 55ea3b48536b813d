"""The audit of a foreign run: every check that its folder holds enough for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from simulations.audit.bounds import bounds, noise_off
from simulations.audit.checks import noise, people, record
from simulations.audit.checks.risk import FILES, REPLAY
from simulations.audit.findings import Finding
from simulations.audit.foreign import checks
from simulations.audit.foreign.run import ForeignRun
from simulations.audit.foreign.sums import Stated, summed, taking_part

_OF_SUMS: tuple[Callable[[Stated], Finding], ...] = (
    record.raw,
    noise.noise_fresh,
    people.weights,
    noise.noise_scale,
    noise.noise_shape,
)


def audited(run: ForeignRun, confidence: float = 0.95) -> list[Finding]:
    """What a folder shows of its claim, causes before what they may bring about.

    Parameters
    ----------
    run : ForeignRun
    confidence : float
        In (0, 1), of each bound alone.
    """
    there, sums = taking_part(run), summed(run)
    clip = people.clip(there)
    if clip.verdict == "not shown":
        clip = checks.clip_unseen(run, sums)
    fixed = run.claim.sampling.kind == "fixed"
    sampling = checks.fixed_cohorts(there) if fixed else people.sampling(there)
    raw, fresh, weights, scale, shape = (check(sums) for check in _OF_SUMS)
    if not noise.noised(sums):
        raw = Finding(record.RAW, "not shown", FILES, "No release whose noise could be seen")
    found = [clip, raw, fresh, weights, sampling, scale, shape]
    found = [
        replace(each, threat_model=checks.SEEN) if each.threat_model == REPLAY else each
        for each in found
    ]
    found += [checks.rounds(run), checks.cost(run, sums)]
    return [*found, *bounds(sums, confidence), *noise_off(sums, confidence)]
