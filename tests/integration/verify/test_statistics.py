"""`starling verify` of released metrics and an adaptive clip: honest, altered, out of all range."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent

from shared.config import FederationConfig, PrivacyConfig, at_epsilon
from shared.privacy.accounting.events import event_to_json
from shared.privacy.contribution.evaluation import ABOUT, estimate_metrics
from shared.privacy.contribution.units import quantile_rule
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import SECURE, SEEDED
from simulations.results import Claim
from simulations.verify.run import verify_run
from simulations.verify.statistics import statistics_reasons, withheld
from tests.support.privacy.attacks import Attack, claim, said, without
from tests.support.privacy.ledgers import (
    EXPERIMENT,
    ROUNDS,
    USERS,
    ended,
    first_ledger,
    load,
    save,
    write_promised_run,
)

MEASURED = replace(
    EXPERIMENT,
    federation=FederationConfig(
        rounds=ROUNDS, cohort=100.0, metrics_every=2, metrics_cohort=0.5, select="private_metric"
    ),
    privacy=PrivacyConfig(
        histogram_share=0.2, metrics_share=0.3, clipping_norm=0.5, adaptive_clipping=0.5
    ),
)
SUMS = {3: [100.0, -50.0, 250.0], 4: [60.0, -60.0, 250.0]}  # round 3 ranks better
BITS = [10.0, -20.0, 5.5, 0.25]


def figures(sums: list[float], noise: float) -> dict[str, Any]:
    found = estimate_metrics(np.array(sums), noise, 0.5).plain()
    return {"sums": sums} | found


def released(point: dict[str, Any], sums: dict[int, list[float]], noise: float) -> None:
    releases = [{"round": number} | figures(of, noise) for number, of in sums.items()]
    point["released_metrics"] = {**ABOUT, "releases": releases, "selected_round": 3}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Epsilon 2 with both, and none. Not to be altered: copy it."""
    folder = tmp_path_factory.mktemp("statistics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STARLING_HOME", str(folder / "home"))
        (folder / "run").mkdir()
        run = write_promised_run(folder / "run", MEASURED)
    results = load(run)
    point = results["points"][0]
    released(point, SUMS, point["metrics_noise_multiplier"])
    rule = quantile_rule(at_epsilon(MEASURED, 2.0, 0))
    assert rule is not None
    norms = [rule.start]
    for bits in BITS:
        norms.append(rule.next(norms[-1], bits, 100.0))
    point.update(clipping_norms=norms, clipping_bits=BITS)
    save(run, results)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STARLING_HOME", str(finished / "home"))
    return shutil.copytree(finished / "run", tmp_path / "copy")


def test_an_honest_run_agrees(run: Path) -> None:
    report = verify_run(run)
    assert not any(row.withheld for row in report.rows)
    assert report.ok, (report.problems, [row.reason for row in report.rows])


def metrics(edit: Callable[[dict[str, Any]], object]) -> Attack:
    def attack(run: Path) -> None:
        results = load(run)
        edit(results["points"][0]["released_metrics"])
        save(run, results)

    return attack


def amplified(run: Path, **numbers: float) -> None:
    """Far too little noise, counted as if next to nobody were asked; signed by the operator."""
    results, path = load(run), first_ledger(run)
    point, old = results["points"][0], Ledger.open(path)
    path.unlink()
    new, forged = Ledger.create(path, old.header), PoissonSampledDpEvent(1e-2, GaussianDpEvent(0.9))
    for entry in old.entries:
        event = forged if entry.release == "metrics" else entry.event
        new.append(entry.round, entry.release, event)
    point["releases"]["metrics"]["event"] = event_to_json(forged)
    released(point, SUMS, 0.9)
    point.update(numbers, **ended(new))
    save(run, results)


def amplified_and_said(run: Path) -> None:
    amplified(run, metrics_noise_multiplier=0.9, metrics_sampling=1e-2)


def nothing_told(run: Path) -> None:
    """Sums that say nothing at all: no round is better than another."""
    results = load(run)
    point = results["points"][0]
    sums = {3: [0.3, 0.2, 0.01], 4: [-3.0, -4.0, -1.0]}
    released(point, sums, point["metrics_noise_multiplier"])
    save(run, results)


def norm(place: int, value: float) -> Attack:
    def attack(run: Path) -> None:
        results = load(run)
        results["points"][0]["clipping_norms"][place] = value
        save(run, results)

    return attack


ATTACKS: dict[str, tuple[Attack, str]] = {
    "metrics: false sampling": (amplified, "metrics: claimed"),
    "metrics: false sampling, stated": (
        amplified_and_said,
        "metrics_sampling = 0.01 claimed, the settings give 0.5",
    ),
    "metrics: noise": (claim(metrics_noise_multiplier=9.0), "metrics: claimed"),
    "metrics: noise hidden": (without("metrics_noise_multiplier"), "metrics: an event is claimed"),
    "metrics: sampling hidden": (without("metrics_sampling"), "metrics_sampling = nan claimed"),
    "sums too large": (
        metrics(lambda told: told["releases"][0].update(sums=[1e200] * 3)),
        "round 3: its figures do not follow",
    ),
    "users too large": (
        metrics(lambda told: told["releases"][0].update(users=10**400)),
        "round 3: its figures do not follow",
    ),
    "another label": (
        metrics(lambda told: told.update(status="exact")),
        "status = 'exact' claimed",
    ),
    "selected round": (metrics(lambda told: told.update(selected_round=4)), "releases give 3"),
    "selected round hidden": (metrics(lambda told: told.pop("selected_round")), "releases give 3"),
    "selected without telling": (nothing_told, "selected_round = 3 claimed"),
    "norms": (norm(2, 0.7), "clipping_norms: 0.7 claimed after round 2"),
    "bits hidden": (without("clipping_bits"), "clipping_bits = None"),
    "bits: not a number": (claim(clipping_bits=["inf"] * 4), "clipping_bits = ['inf'"),
    "bits: a gap": (claim(clipping_bits=[10.0, None, 5.5, 0.25]), "clipping_bits = [10.0, None"),
    "bits: too few": (claim(clipping_bits=[0.5]), "and 4 clipping_bits"),
}


@pytest.mark.parametrize(("attack", "word"), ATTACKS.values(), ids=list(ATTACKS))
def test_finds_every_alteration(run: Path, attack: Attack, word: str) -> None:
    attack(run)
    assert word in said(run)


LOST: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "metrics": (
        lambda point: point["released_metrics"]["releases"].pop(1),
        "of rounds [3] claimed",
    ),
    "bits": (
        lambda point: point.update(
            clipping_bits=[10.0, None, *BITS[2:]],
            clipping_norms=[*point["clipping_norms"][:2], *gone_on(point["clipping_norms"][1])],
        ),
        "clipping_bits = [10.0, None",
    ),
}


def gone_on(norm: float) -> list[float]:
    """The norms after a second round that released nothing."""
    rule = quantile_rule(at_epsilon(MEASURED, 2.0, 0))
    assert rule is not None
    found = [norm]
    for bits in BITS[2:]:
        found.append(rule.next(found[-1], bits, 100.0))
    return found


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.parametrize("noise", [SEEDED, SECURE])
def test_only_a_real_run_may_have_lost_what_was_counted(noise: str, kind: str, run: Path) -> None:
    """A simulation repeats what a crash lost; on real nodes that would be a second release."""
    (lose, word), point = LOST[kind], load(run)["points"][0]
    lose(point)
    record, config = Ledger.open(first_ledger(run)), at_epsilon(MEASURED, 2.0, 0)
    reasons = statistics_reasons(record, Claim(point | {"noise": noise}), config, USERS)
    assert bool(reasons) is (noise == SEEDED)
    assert not reasons or word in reasons[0]
    (lost,) = withheld(record, Claim(point | {"noise": noise}), config)
    assert lost.startswith({"bits": "clipping_bits"}.get(kind, "released_metrics"))
    assert "not told of round" in lost
    point["clipping_norms"][2] *= 1.01
    point["released_metrics"]["releases"][0]["round"] = 1
    again = statistics_reasons(record, Claim(point | {"noise": noise}), config, USERS)
    assert len(again) == 2
