"""`starling verify` refuses every forgery of what a run hands on, a simulation's and a real one's.

`STRANGER` is anyone who can write to the folder. `OPERATOR` has the key and lies: what they claim
is sealed, and only ledger, settings and files are left to catch it.
"""

import json
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.ledger.promise import read_promise
from simulations.results import Results
from simulations.verify import stated
from simulations.verify.fields import protocol_problems
from simulations.verify.run import verify_run
from tests.support.privacy.forging import (
    EDITED,
    REPLACED,
    a_digest_too,
    adapter,
    another_adapter,
    at,
    byte,
    capitals,
    extended,
    lines,
    linked,
    load,
    new,
    on,
    other_histogram,
    promise_with,
    reordered,
    reseal,
    retold,
    said,
    seal_of_a_point,
    spaced,
    told,
)
from tests.support.privacy.lies import (
    LIES,
    LIES_ANEW,
    LIES_OF_A_SIMULATION,
    LIES_OF_THE_SAME_MODEL,
)

FILES = {
    "adapter of another point": (another_adapter, REPLACED),
    "adapter: one bit": (lambda run: byte(adapter(run)), REPLACED),
    "adapter: promise edited": (
        lambda run: retold(adapter(run), promise_with(adapter(run), epsilon=0.1)),
        REPLACED,
    ),
    "adapter removed": (lambda run: adapter(run).unlink(), "sealed, but missing"),
    "adapter: link": (linked, "a link or a name that leads out"),
    "adapter added": (new("adapters/eps-1-seed-0.safetensors", "adapters/*"), "not sealed: nobody"),
    "histogram swapped": (other_histogram, REPLACED),
    "histogram added": (
        new("points/eps-1-seed-0.popularity.safetensors", "points/*.popularity.*"),
        "not sealed: nobody vouches",
    ),
    "policy edited": (on("points/*.policy.json", lambda f: byte(f, 60)), REPLACED),
    "policy added": (new("points/q.policy.json", "points/*.policy.json"), "not sealed: nobody"),
    "ledger: end cut": (lines(lambda old: old[:-1]), "cut, extended or rewritten"),
    "ledger: line edited": (
        lines(lambda old: [old[0], old[1].replace(b'"round":0', b'"round":1'), *old[2:]]),
        "line 2: edited",
    ),
    "ledger: line removed": (lines(lambda old: [old[0], *old[2:]]), "line 2: edited"),
    "ledger extended": (lines(extended), "cut, extended or rewritten"),
    "ledger removed": (on("ledger-*", Path.unlink), "cannot be read"),
    "ledger added": (new("ledger-x.jsonl", "ledger-*"), "no point of results.json claims it"),
}
OF_A_SIMULATION = {
    "settings edited": (on("config.toml", byte), REPLACED),
    "a point's settings edited": (on("points/*.toml", byte), REPLACED),
    "report edited": (on("report.html", lambda f: byte(f, 4000)), REPLACED),
    "curve edited": (on("curve.png", byte), REPLACED),
    "report removed": (on("report.html", Path.unlink), "sealed, but missing"),
    "table edited": (on("results.csv", byte), REPLACED),
    "table removed": (on("results.parquet", Path.unlink), "sealed, but missing"),
}

CLAIMS = {
    "another data set's name": (told(at("data", "name", to="census")), EDITED),
    "1e9 interactions": (told(at("data", "interactions", to=10**9)), EDITED),
    "more users": (told(at("data", "users", to=10**6)), EDITED),
    "covered by the guarantee": (
        told(lambda f: f["points"][0].update(metrics={}, metrics_status="covered by epsilon")),
        "metrics_status = 'covered by epsilon' claimed, and no ledger entry covers",
    ),
    "less epsilon": (told(at("points", 0, "epsilon", to=1.0)), "epsilon = 1 claimed"),
    "another delta": (told(at("points", 0, "delta", to=1e-9)), "delta = 1e-09 claimed"),
    "another unit": (told(at("points", 0, "unit", to="example")), "unit = 'example' claimed"),
    "another adversary": (told(at("points", 0, "adversary", to="all")), "adversary = 'all'"),
    "more noise": (told(at("points", 0, "noise_multiplier", to=99.0)), "update: claimed"),
    "another version": (told(at("starling", to="9.9")), EDITED),
    "noise called otherwise": (told(at("points", 0, "noise", to="true")), "noise = 'true' claimed"),
    "a digest too": (a_digest_too, EDITED),
    "a file less": (told(lambda f: f["seal"]["files"].popitem()), EDITED),
    "no seal": (told(lambda f: f.pop("seal")), "not sealed: nobody signed it"),
    "seal: no object": (told(at("seal", to=[])), EDITED),
    "seal: of something else": (seal_of_a_point, EDITED),
    "seal: no signature of anybody": (told(at("seal", "signature", to="0" * 128)), EDITED),
    "seal: no signature": (told(lambda f: f["seal"].pop("signature")), EDITED),
    "seal: in capitals": (told(capitals), EDITED),
    "in another order": (told(reordered), EDITED),
    "a space": (spaced, EDITED),
    "not a number": (told(at("data", "x", to=float("nan")), lambda r, f: (
        r / "results.json").write_text(json.dumps(f, indent=1))), EDITED),
}  # fmt: skip
CLAIMS_OF_A_SIMULATION = {
    "a better model": (told(at("points", 0, "metrics", "hr@10", to=0.99)), EDITED),
    "a worse reference": (told(at("references", "zero_shot", "metrics", "hr@10", to=0.0)), EDITED),
    "seeded noise called secure": (
        told(at("points", 0, "noise", to="from the operating system's generator")),
        EDITED,
    ),
}

COMMON = {
    **{f"stranger: {name}": found for name, found in (FILES | CLAIMS).items()},
    **{f"operator: {name}": found for name, found in (LIES | LIES_ANEW).items()},
}
FORGERIES = [
    *(("deployed", name) for name in COMMON),
    *(("simulated", name) for name in COMMON),
]
SIMULATED = {
    **{f"stranger: {n}": found for n, found in (OF_A_SIMULATION | CLAIMS_OF_A_SIMULATION).items()},
    **{f"operator: {n}": found for n, found in LIES_OF_A_SIMULATION.items()},
}
FORGERIES += [("simulated", name) for name in SIMULATED]


@pytest.mark.parametrize("kind", ["simulated", "deployed"])
def test_the_whole_folder_agrees(kind, folders):
    report = verify_run(folders(kind))
    assert report.exit_code == 0, said(report)


@pytest.mark.parametrize(("kind", "name"), FORGERIES, ids=map(" ".join, FORGERIES))
def test_a_forgery_is_refused_with_its_reason(kind, name, folders):
    copy = folders(kind)
    attack, words = (COMMON | SIMULATED)[name]
    attack(copy)
    report = verify_run(copy)
    assert report.exit_code == 3
    assert words in said(report)
    assert all(line.isprintable() for line in said(report).splitlines())


@pytest.mark.parametrize("name", LIES_OF_THE_SAME_MODEL)
def test_what_is_untrue_of_the_same_model_is_refused(name, apart, tmp_path):
    folder = shutil.copytree(apart[0], tmp_path / "copy")
    attack, words = LIES_OF_THE_SAME_MODEL[name]
    attack(folder)
    report = verify_run(folder)
    assert (report.exit_code, words in said(report)) == (3, True), said(report)


def written(tree, path=()):
    """The path of every name below `path`; of a list only what is in its first entry."""
    for name, value in tree.items():
        yield (*path, name)
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict):
            yield from written(inner, (*path, name, *([] if inner is value else [0])))


# What is compared with the ledger, files and settings; and of a round, for the evaluator alone.
ELSEWHERE = {"history", "ledger", "meaning", "releases", "compared"}


@pytest.mark.parametrize("kind", ["simulated", "apart"])
def test_nothing_that_a_run_measured_can_be_left_out(kind, run, apart):
    """Whatever it writes of data, machine, references and metrics: field by field."""
    found = load(run if kind == "simulated" else apart[0])
    first = found["points"][0]
    measured = set(stated.OF_A_POINT) | {"references"}
    paths = [
        ("environment",),
        *(p for n in ("data", "references") for p in written(found[n], (n,))),
    ]
    paths += [("environment", name) for name in found["environment"]]
    paths += [p for p in written(first, ("points", 0)) if p[2] in measured]
    paths = [path for path in paths if not ELSEWHERE & set(path[:-1])]
    assert len(paths) > 150
    for path in paths:
        tree = deepcopy(found)
        at_ = tree
        for name in path[:-1]:
            at_ = at_[name]
        del at_[path[-1]]
        results = Results.of(tree)
        beside = [{"start", "popularity_private"}, {"start"}]
        reasons = [*stated.stated_problems(results, beside), *protocol_problems(results)]
        assert reasons or path[-1] == "compared", path


@pytest.mark.parametrize("kind", ["simulated", "deployed"])
def test_a_run_that_a_stranger_sealed_anew_is_shown_to_nobody(kind, folders):
    copy, key = folders(kind), public_hex(load_or_create_signing_key())
    retold(adapter(copy), read_promise(adapter(copy)), x=np.ones(1, dtype=np.float32))
    reseal(copy, load(copy), Ed25519PrivateKey.generate())
    report = verify_run(copy)
    assert (report.exit_code, said(report)) == (4, "")
    assert "whom nobody vouches for" in report.signer
    assert verify_run(copy, key).exit_code == 3


def test_results_of_another_run_are_refused(run, deployed, tmp_path):
    copy = shutil.copytree(deployed, tmp_path / "copy")
    shutil.copy(run / "results.json", copy / "results.json")
    assert "sealed, but missing" in said(verify_run(copy))
