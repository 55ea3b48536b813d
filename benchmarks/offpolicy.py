"""Off-policy estimates beside Open Bandit Pipeline's, and beside what really happened.

    python benchmarks/offpolicy.py [--peer PYTHON] [--out FILE]

On the Open Bandit Dataset (two campaigns, 10,000 rows of each of two policies) either policy is
valued by the other's log: the five estimates are compared with those of `obp` 0.4.1, which PYTHON
has (an environment of its own: obp==0.4.1 --no-deps, numpy, pandas, scikit-learn, scipy, torch,
mypy-extensions), from the same weights and the same model of clicks; and with what the policy
earned when it really ran, with the z of the difference, in which both are uncertain. On the deep
world, of 400 people, the value of showing anything alike is known exactly.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]

Row = dict[str, Any]
CAMPAIGNS, POLICIES = ("men", "women"), ("random", "bts")
PEOPLE = 400


def of_peer(file: Path) -> dict[str, float]:
    """What obp estimates from the arrays in a file; runs in its environment."""
    from obp import ope

    found = np.load(file)
    log = {"reward": found["reward"], "action": found["action"], "position": found["position"]}
    chosen = {"action_dist": found["pi"], "position": log["position"]}
    model = {"estimated_rewards_by_reg_model": found["q"]}
    every = {**log, "pscore": found["pscore"], "action_dist": found["pi"]}
    tau = float(found["tau"])
    return {
        "dm": ope.DirectMethod().estimate_policy_value(**chosen, **model),
        "ips": ope.InverseProbabilityWeighting().estimate_policy_value(**every),
        "snips": ope.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**every),
        "dr": ope.DoublyRobust().estimate_policy_value(**every, **model),
        "switch_dr": ope.SwitchDoublyRobust(tau=tau).estimate_policy_value(**every, **model),
    }


def compared(peer: str, log: Any, policy: Any, tau: float) -> dict[str, float]:
    """obp's estimates from the same chances and model, by a process of its own."""
    from simulations.offpolicy.value import model_of

    cells, modelled = model_of(log, 0)
    rows = slice(0, len(log))
    weights = policy.weights(log, rows, cells)
    pi = weights / weights.sum(axis=1, keepdims=True)  # no slates and nobody named: all is open
    arrays = {
        "reward": log.rewards,
        "action": log.items,
        "position": log.places,
        "pscore": log.propensities,
        "pi": np.repeat(pi[:, :, None], len(log.place_names), axis=2),
        "q": modelled[cells.folds],
        "tau": np.array(tau),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log.npz"
        np.savez(file, **arrays)
        done = subprocess.run(
            [peer, __file__, "--as-peer", str(file)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(f"{peer}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def open_bandit(data: Path, peer: str) -> list[Row]:
    """Both directions of both campaigns."""
    from simulations.offpolicy import named_policy, read_feedback, value_of

    rows = []
    for campaign in CAMPAIGNS:
        files = {name: data / name / campaign / f"{campaign}.csv" for name in POLICIES}
        for logged, asked in (POLICIES, POLICIES[::-1]):
            log = read_feedback(files[logged])
            policy = named_policy("uniform" if asked == "random" else str(files[asked]), log)
            found = value_of(policy, log)
            own = read_feedback(files[asked])
            ran = value_of(named_policy("uniform", own), own).logged
            theirs = compared(peer, log, policy, found.switch)
            apart = {name: abs(found.estimates[name].value - theirs[name]) for name in theirs}
            row: Row = {"campaign": campaign, "log": logged, "policy": asked}
            row |= {"ran": asdict(ran), "apart_from_obp": apart, "effective": found.effective_rows}
            row["estimates"] = {
                name: asdict(one) | {"within": ran.low <= one.value <= ran.high, "z": z(one, ran)}
                for name, one in found.estimates.items()
            }
            rows.append(row)
            told = ", ".join(f"{n} {e['value']:.5f}" for n, e in row["estimates"].items())
            print(
                f"{campaign}, {asked} by {logged}: ran {ran.value:.5f} "
                f"[{ran.low:.5f}, {ran.high:.5f}]; {told}; worst {max(apart.values()):.1e}"
            )
    return rows


def z(one: Any, other: Any) -> float:
    """Of a difference, with intervals taken for normal ones."""
    wide = np.hypot(one.high - one.low, other.high - other.low) / (2 * 1.96)
    return float((one.value - other.value) / wide)


def world() -> Row:
    """The deep world's log, and what showing anything alike is worth there."""
    from shared.config.presets import chosen_settings
    from simulations.offpolicy import named_policy, read_feedback, value_of
    from simulations.world.files import write_world
    from simulations.world.slates import examination
    from simulations.world.sources import open_world

    settings = chosen_settings(None, "world-deep")
    made = open_world(replace(settings.data, users=PEOPLE), settings.world)
    looked_at = float(examination(settings.world.slate, settings.world.position_bias).mean())
    truth = []
    for user in range(PEOPLE):
        shown, clicked = made.slates(user), list[int]()
        for items, clicks, time, scenario in zip(
            shown.items, shown.clicks, shown.times.tolist(), shown.scenarios.tolist(), strict=True
        ):
            context = np.array(clicked, dtype=np.int64)
            attractive = made.attractions(user, context, time, scenario)
            there = made.arrivals <= time
            there[context] = False
            truth.append(looked_at * float(attractive[there].mean()))
            clicked += items[clicks].tolist()
    with tempfile.TemporaryDirectory() as folder:
        log = read_feedback(write_world(made, Path(folder)))
    found = value_of(named_policy("uniform", log), log)
    known = float(np.mean(truth))
    print(
        f"world: true {known:.5f}; "
        + ", ".join(
            f"{n} {e.value:.5f} [{e.low:.5f}, {e.high:.5f}]" for n, e in found.estimates.items()
        )
    )
    estimates = {
        name: asdict(one) | {"covers": one.low <= known <= one.high}
        for name, one in found.estimates.items()
    }
    return {"people": PEOPLE, "true": known, "logged": asdict(found.logged), "estimates": estimates}


def main() -> None:
    """Compare and write what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--as-peer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--peer", default=sys.executable, help="A Python that has obp.")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data/open-bandit")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/offpolicy.json")
    options = parser.parse_args()
    if options.as_peer:
        print(json.dumps(of_peer(options.as_peer)))
        return
    sys.path.insert(0, str(ROOT))  # found without being installed
    found = {"open_bandit": open_bandit(options.data, options.peer), "world": world()}
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
