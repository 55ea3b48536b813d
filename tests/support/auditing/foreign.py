"""A federated run in the format of docs/audit-foreign.md, made of NumPy alone."""

import json

import numpy as np
from safetensors.numpy import save_file

CLIENTS, CANARIES, DIM, ROUNDS, NOISE = 120, 80, 400, 4, 2.0
ARRAYS = ("sent", "clipped", "start", "released")


def tree_of(**changes):
    """`federated-run.json` of a run without rounds yet; dots in names lead inwards."""
    tree = {
        "format": "federated-run/1",
        "name": "made of NumPy",
        "claim": {
            "unit": "user",
            "relation": "zero_out",
            "clipping_norm": 0.5,
            "noise": {"multiplier": NOISE},
            "clients": CLIENTS,
            "sampling": {"kind": "everyone"},
            "rounds": ROUNDS,
            "weights": "equal",
            "delta": 1e-5,
            "epsilon": 5.0,
        },
        "released": "mean",
        "rounds": [],
    }
    for path, value in changes.items():
        *inside, last = path.split("__")
        at = tree
        for name in inside:
            at = at[name]
        at[last] = value
    return tree


def draw_cohort(draw, sampling):
    """Places of who is asked."""
    if sampling["kind"] == "fixed":
        return np.sort(draw.choice(CLIENTS, sampling["cohort"], replace=False))
    if sampling["kind"] == "poisson":
        return np.flatnonzero(draw.random(CLIENTS) < sampling["probability"])
    return np.arange(CLIENTS)


def write(folder, seed=0, keep=ARRAYS, **planted):
    """Write a run, right but for what is planted.

    Parameters
    ----------
    folder : Path
    seed : int
    keep : names of the arrays that are there
    planted : claims, as `tree_of`; and, of what truly happens, `noise` (times what is claimed),
        `clip` (False: none), `by_examples` (weights), `alike` (the same noise), `cohorts` (a
        sampling), `released_rounds`
    """
    truth = {"noise": 1.0, "clip": True, "by_examples": False, "alike": False, "cohorts": None}
    truth |= {"released_rounds": ROUNDS}
    truth |= {name: planted.pop(name) for name in [*planted] if name in truth}
    tree = tree_of(**planted)
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    included = draw.random(CANARIES) < 0.5
    coordinates = draw.choice(DIM, CANARIES, replace=False)
    examples = np.ceil(100 ** draw.random(CLIENTS)).astype(int)
    norm, model = tree["claim"]["clipping_norm"], np.zeros(DIM)
    heading = 0.2 * draw.normal(size=DIM) / np.sqrt(DIM)
    kept = draw.normal(size=DIM)
    for number in range(1, truth["released_rounds"] + 1):
        asked = draw_cohort(draw, truth["cohorts"] or tree["claim"]["sampling"])
        sent = heading + draw.normal(size=(CLIENTS, DIM)) / np.sqrt(DIM)
        sent[:CANARIES] = 0
        sent[np.flatnonzero(included), coordinates[included]] = 50 * norm
        sent = sent[asked]
        lengths = np.linalg.norm(sent, axis=1, keepdims=True)
        clipped = sent * np.minimum(1, norm / np.maximum(lengths, norm))
        summed = sent if not truth["clip"] else clipped
        weights = np.ones(len(asked))
        if truth["by_examples"]:
            weights = examples[asked] / examples[asked].mean()
        fresh = kept if truth["alike"] else draw.normal(size=DIM)
        noise = truth["noise"] * NOISE * norm * fresh
        total = weights @ summed + noise
        mean = total / len(asked)
        released = {"sum": total, "mean": mean, "model": model + mean}[tree["released"]]
        arrays = {"sent": sent, "clipped": summed, "start": model, "released": released}
        model = model + mean
        file = f"round-{number}.safetensors"
        arrays = {name: np.asarray(arrays[name], dtype=np.float32) for name in keep}
        save_file(arrays, folder / file)
        told = {"round": number, "file": file, "members": [f"c{place}" for place in asked]}
        tree["rounds"].append(told | {"examples": examples[asked].tolist()})
    tree["canaries"] = {
        "clients": [f"c{place}" for place in range(CANARIES)],
        "included": included.tolist(),
        "coordinates": coordinates.tolist(),
    }
    (folder / "federated-run.json").write_text(json.dumps(tree))
    return tree
