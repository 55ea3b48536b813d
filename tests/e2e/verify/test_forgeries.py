"""`starling verify` refuses every forgery of what a run hands on, a simulation's and a real one's.

`STRANGER` is anyone who can write to the folder. `OPERATOR` has the key and lies: what they claim
is sealed, and only ledger, settings and files are left to catch it.
"""

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dp_accounting import GaussianDpEvent, SelfComposedDpEvent
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from shared.config import at_epsilon, from_dict
from shared.errors import StarlingError
from shared.privacy.keys import load_or_create_signing_key, public_hex, sign
from shared.privacy.ledger import seal
from shared.privacy.ledger.chain import Chain
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.promise import promise_text, read_promise
from shared.privacy.ledger.seal import digests, sealed_files, text_of, write_sealed
from shared.privacy.ledger.spent import spent
from shared.privacy.policy.signed import load_policy, signed
from simulations.verify.run import verify_run

REPLACED, EDITED = "not the file that was sealed", "results.json: edited after it was sealed"


def load(run):
    return json.loads((run / "results.json").read_text())


def write(run, found):
    """By a stranger: in the form of the writer, under the old signature."""
    (run / "results.json").write_text(text_of(found))


def reseal(run, found, key=None, without=()):
    """By whoever has a key: everything that was sealed, as it is now."""
    names = [name for name in sealed_files(found) if name not in without]
    files = digests(run, [run / name for name in names])
    write_sealed(run / "results.json", found, files, key)


def adapter(run):
    return run / load(run)["points"][0]["adapter"]


def only(run, pattern):
    return next(iter(sorted(run.glob(pattern))))


def byte(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def retold(file, promise, **tensors):
    """The adapter with another promise in it, or none; and other tensors."""
    with safe_open(file, framework="np") as stream:
        metadata = stream.metadata()
    arrays = load_file(file) | tensors
    del metadata["promise"]
    told = {} if promise is None else {"promise": promise_text(promise)}
    save_file(arrays, file, metadata | told)


def promise_with(file, **changes):
    promise = read_promise(file)
    return {**promise, "guarantees": [{**promise["guarantees"][0], **changes}]}


# What a stranger does to files.


def another_adapter(run):
    """The one without noise in place of the private one; of a real run, one of other tensors."""
    others = sorted(set(run.glob("adapters/*")) - {adapter(run)})
    if others:
        shutil.copy(others[0], adapter(run))
    else:
        file = adapter(run)
        retold(file, read_promise(file), **{k: v + 1 for k, v in load_file(file).items()})


def linked(run):
    file = adapter(run)
    file.rename(run / "elsewhere")
    file.symlink_to(run / "elsewhere")


def other_histogram(run):
    file = only(run, "points/*.popularity.safetensors")
    save_file({"counts": load_file(file)["counts"][::-1].copy()}, file)


def lines(change):
    def attack(run):
        file = only(run, "ledger-*.jsonl")
        file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))

    return attack


def extended(old):
    """By one more line, right after the last."""
    chain = Chain("")
    for line in old:
        chain.add(line)
    return [*old, chain.entry_line(3, "update", chain.entries[-1].event)]


def on(pattern, act):
    return lambda run: act(only(run, pattern))


def new(name, of):
    return lambda run: shutil.copy(only(run, of), run / name)


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
}

# What a stranger does to the claims.


def at(*path, to):
    """Another value at a place of the results."""

    def change(found):
        inside = found
        for name in path[:-1]:
            inside = inside[name]
        inside[path[-1]] = to

    return change


def told(change, how=write):
    def attack(run):
        found = load(run)
        change(found)
        how(run, found)

    return attack


def a_digest_too(run):
    another_adapter(run)
    found = load(run)
    name = str(adapter(run).relative_to(run))
    found["seal"]["files"] |= digests(run, [run / name])
    write(run, found)


def seal_of_a_point(run):
    """The operator's signature of something else."""
    other = run / "other.json"
    write_sealed(other, {"epsilon": 1.0}, {})
    found = load(run)
    found["seal"]["signature"] = json.loads(other.read_text())["seal"]["signature"]
    write(run, found)


def capitals(found):
    """The same number in other letters."""
    found["seal"]["signature"] = found["seal"]["signature"].upper()


def reordered(found):
    found["points"][0] = dict(reversed(found["points"][0].items()))


def spaced(run):
    file = run / "results.json"
    file.write_text(file.read_text().replace("[\n", "[ \n", 1))


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

# What an operator may not claim even under the key.


def operator(change):
    return told(change, reseal)


def files_of_two_points(run):
    one, two = sorted(run.glob("adapters/*"))
    one.rename(run / "third")
    two.rename(one)
    (run / "third").rename(two)
    reseal(run, load(run))


def promising(**changes):
    def attack(run):
        retold(adapter(run), promise_with(adapter(run), **changes))
        reseal(run, load(run))

    return attack


def without_promise(run):
    retold(adapter(run), None)
    reseal(run, load(run))


def unsealed_adapter(run):
    reseal(run, load(run), without=[load(run)["points"][0]["adapter"]])


def another_policy(run):
    """Signed by the same operator, of a run of another number of users."""
    file = only(run, "points/*.policy.json")
    policy = replace(load_policy(file, None), users=7)
    file.write_text(signed(policy, load_or_create_signing_key()))
    reseal(run, load(run))


def out_of_the_folder(run):
    """The digest is right, and the file is not in the folder."""
    found = load(run)
    (run.parent / "outside").write_text("")
    files = sealed_files(found) | digests(run.parent, [run.parent / "outside"])
    files["../outside"] = files.pop("outside")
    write_sealed(run / "results.json", found, files)


def more_noise_everywhere(run):
    """A ledger of more noise than there was, and all that follows from it."""
    found, file = load(run), only(run, "ledger-*")
    old = Ledger.open(file)
    file.unlink()
    again = Ledger.create(file, old.header)
    for entry in old.entries:
        again.append(entry.round, entry.release, GaussianDpEvent(50.0))
    found["points"][0] |= {"epsilon": again.epsilon()}
    found["points"][0]["ledger"] |= {"head": again.head}
    reseal(run, found)


def ledger_anew(run, entries, **claimed):
    """Another ledger for the first point, and all that follows from it."""
    found, file = load(run), only(run, "ledger-*")
    old = Ledger.open(file)
    file.unlink()
    again = Ledger.create(file, old.header)
    for number, release, event in entries([(e.round, e.release, e.event) for e in old.entries]):
        again.append(number, release, event)
    point = found["points"][0]
    config = from_dict(found["config"])
    config = at_epsilon(config, point["epsilon_target"], point["seed"])
    point |= spent(again, config, found["data"]["users"]) | claimed
    told = promise_with(adapter(run), epsilon=again.epsilon(), ledger_head=again.head)
    retold(adapter(run), told)
    reseal(run, found)


def anew(entries, **claimed):
    return lambda run: ledger_anew(run, entries, **claimed)


def outside(run):
    """Right in every way, but that it lies elsewhere."""
    found, file = load(run), adapter(run)
    name, there = found["points"][0]["adapter"], str(run.parent / file.name)
    file.rename(there)
    found["points"][0]["adapter"] = there
    write_sealed(run / "results.json", found, renamed(found, name, there))


def renamed(found, old, new):
    return {new if name == old else name: was for name, was in sealed_files(found).items()}


def detour(run):
    found = load(run)
    name = found["points"][0]["adapter"]
    found["points"][0]["adapter"] = name.replace("/", "//")
    write_sealed(run / "results.json", found, renamed(found, name, name.replace("/", "//")))


def dropped(pattern):
    def attack(run):
        for file in run.glob(pattern):
            file.unlink()
        reseal(run, load(run))

    return attack


def policy_of_nobody(run):
    """One that promises less, under a name that is no point's."""
    old, new = only(run, "points/*.policy.json"), run / "points" / "eps-2.policy.json"
    told = load_policy(old, None)
    less = replace(told.promises[0], guarantee=replace(told.promises[0].guarantee, budget=0.01))
    new.write_text(signed(replace(told, promises=(less,)), load_or_create_signing_key()))
    old.unlink()
    reseal_with(run, "points/eps-2.policy.json")


def policy_of_more_rounds(run):
    file = only(run, "points/*.policy.json")
    told = load_policy(file, None)
    file.write_text(signed(replace(told, rounds=told.rounds + 1), load_or_create_signing_key()))
    reseal(run, load(run))


def reseal_with(run, name):
    found = load(run)
    files = [run / at for at in (*sealed_files(found), name)]
    write_sealed(run / "results.json", found, digests(run, files))


def summary(run):
    (run / "SUMMARY.txt").write_text("epsilon 0.01")
    reseal_with(run, "SUMMARY.txt")


def settings_replaced(pattern):
    def attack(run):
        only(run, pattern).write_text("[privacy]\nepsilon = 0.01\n")
        reseal(run, load(run))

    return attack


def carried(change):
    """Other words in an adapter's metadata."""

    def attack(run):
        file = adapter(run)
        with safe_open(file, framework="np") as stream:
            metadata = stream.metadata()
        change(metadata)
        save_file(load_file(file), file, metadata)
        reseal(run, load(run))

    return attack


def promised_twice(told):
    told["promise"] = '{"guarantees":[{"epsilon":0.01}],' + told["promise"][1:]


def note_in_the_seal(run):
    found, file = load(run), run / "results.json"
    found["seal"]["note"] = "epsilon 0.1"
    found["seal"].pop("signature")
    key = load_or_create_signing_key()
    found["seal"]["signature"] = sign(key, seal._message(file, found))
    write(run, found)


def ledger_of_a_long_name(found):
    found["points"][0]["ledger"]["file"] = f"ledger-{'a' * 300}.jsonl"


def only_event(event):
    """A ledger of one release that is written, not counted: whoever writes one need not count."""

    def attack(run):
        found, file = load(run), only(run, "ledger-*")
        header = Ledger.open(file).header
        file.unlink()
        Ledger.create(file, header)
        chain = Chain("")
        chain.add(file.read_bytes())
        line = chain.entry_line(1, "update", event)
        chain.add(line)
        with file.open("ab") as stream:
            stream.write(line)
        found["points"][0]["ledger"] |= {"entries": 1, "head": chain.head}
        reseal(run, found)

    return attack


NO_FIELD = "no field of a run's results"
LIES_ANEW = {
    "fewer rounds, and in the ledger": (
        anew(lambda old: old[:-1], rounds=1), "rounds = 1 claimed, the settings give 2"),
    "rounds of another run": (
        anew(lambda old: [(n and n + 70, *rest) for n, *rest in old]),
        "update: recorded in a round outside 1 to 2: 71",
    ),
    "adapter elsewhere": (outside, "sealed, but a link or a name that leads out"),
    "adapter by a detour": (detour, "sealed, but a link or a name that leads out"),
    "policies dropped": (dropped("points/*.policy.json"), "not in the seal, and expected there"),
    "policy of no point": (policy_of_nobody, "'points/eps-2.policy.json': sealed, and no file"),
    "policy of more rounds": (policy_of_more_rounds, "promises devices other than"),
    "sealed beside": (summary, "'SUMMARY.txt': sealed, and no file of the run's points"),
    "adapter: other settings": (
        carried(lambda at: at.update(settings=at["settings"].replace("2.0", "0.01"))),
        "carries other settings than the point's",
    ),
    "adapter: a note": (carried(lambda at: at.update(note="epsilon 0.1")), "carries 'note'"),
    "adapter: promised twice": (carried(promised_twice), "not in the form in which a run writes"),
    "metrics on top": (
        operator(lambda f: f.update(metrics={"hr@10": 0.9}, metrics_status="covered")), NO_FIELD),
    "eps": (operator(at("eps", to=0.1)), NO_FIELD),
    "eps of a point": (operator(at("points", 0, "eps", to=0.1)), NO_FIELD),
    "a guarantee in words": (operator(at("guarantee", to="epsilon 0.1")), NO_FIELD),
    "a guarantee as a name": (operator(at("epsilon 0.1 holds", to={})), NO_FIELD),
    "a name that is a path": (operator(at("points", 0, "metrics.hr@10", to=0.9)), NO_FIELD),
    "a word in the metrics": (
        operator(lambda f: f["points"][0].setdefault("metrics", {}).update(status="covered")),
        NO_FIELD,
    ),
    "words for a figure": (
        operator(at("points", 0, "trained_parameters", to="epsilon 0.1")), "expected no words"),
    "a note of a release": (
        operator(at("points", 0, "releases", "update", "eps", to=0.1)), NO_FIELD),
    "a note of the ledger": (operator(at("points", 0, "ledger", "eps", to=0.1)), NO_FIELD),
    "a note of the machine": (operator(at("environment", to={"eps": 0.1})), NO_FIELD),
    "a note in the seal": (note_in_the_seal, NO_FIELD),
    "no metrics released": (
        operator(at("points", 0, "released_metrics", to={"releases": [], "hr@10": 0.9})),
        "released_metrics claimed, the ledger shows none",
    ),
    "rounds without end": (
        operator(at("config", "federation", "rounds", to=10**400)), "rounds"),
    "ledger of a long name": (operator(ledger_of_a_long_name), "File name too long"),
    "ledger without end": (
        only_event(SelfComposedDpEvent(GaussianDpEvent(1e5), 10**9)), "count of a release"),
}  # fmt: skip

LIES = {
    "less epsilon": (operator(at("points", 0, "epsilon", to=1.0)), "epsilon = 1 claimed"),
    "another delta": (operator(at("points", 0, "delta", to=1e-9)), "delta = 1e-09 claimed"),
    "another target": (operator(at("points", 0, "epsilon_target", to=1.0)), "epsilon_target = 1"),
    "another adversary": (operator(at("points", 0, "adversary", to="all")), "adversary = 'all'"),
    "more noise": (operator(at("points", 0, "noise_multiplier", to=99.0)), "update: claimed"),
    "more noise everywhere": (more_noise_everywhere, "update: claimed"),
    "fewer rounds": (operator(at("points", 0, "rounds", to=1)), "rounds = 1 claimed"),
    "fewer users": (operator(at("data", "users", to=5)), "cohort"),
    "other settings": (
        operator(at("config", "privacy", "clipping_norm", to=0.01)),
        "clipping_norm",
    ),
    "an epsilon elsewhere": (operator(at("data", "epsilon", to=0.1)), "'data.epsilon': no field"),
    "covered by the guarantee": (
        operator(lambda f: f["points"][0].update(metrics={}, metrics_status="covered")),
        "metrics_status = 'covered' claimed",
    ),
    "promise: less epsilon": (promising(epsilon=0.1), "promise.guarantees[0].epsilon = '0.1'"),
    "promise: another delta": (promising(delta=1e-9), "promise.guarantees[0].delta = '1e-09'"),
    "promise: another ledger": (promising(ledger_head="0" * 64), "guarantees[0].ledger_head"),
    "no promise": (without_promise, "promise = 'None', ledger and settings give"),
    "another kind of noise": (operator(at("points", 0, "noise", to="none")), "noise = 'none'"),
    "no adapter": (operator(at("points", 0, "adapter", to="")), "adapter = ''"),
    "adapter not sealed": (unsealed_adapter, "a file that is sealed"),
    "another policy": (another_policy, "a policy of other settings or another number of users"),
    "a file elsewhere": (out_of_the_folder, "'../outside': sealed, but a link or a name that"),
    "point dropped": (operator(lambda f: f["points"].pop(0)), "missing from a run that is called"),
    "no data": (operator(at("data", to=None)), "users = None: expected"),
}
LIES_OF_A_SIMULATION = {
    "settings of another run": (settings_replaced("config.toml"), "config.toml: other settings"),
    "settings of another point": (
        settings_replaced("points/eps-2*.toml"),
        "toml: other settings than the point's",
    ),
    "histogram dropped": (
        dropped("points/eps-2*.popularity.*"),
        "not in the seal, and expected there",
    ),
    "report dropped": (dropped("report.html"), "'report.html': not in the seal, and expected"),
    "meaning of no budget": (
        operator(at("points", 1, "meaning", to={"exceeds": 0.0, "groups": {"2": 0.1}})),
        "meaning claimed, and an epsilon of infinity has none",
    ),
    "adapters of two points swapped": (files_of_two_points, "promise.guarantees[0].epsilon"),
    "one adapter for two points": (
        operator(lambda f: f["points"][0].update(adapter=f["points"][1]["adapter"])),
        "claimed 2 times",
    ),
    "seeded noise called secure": (
        operator(at("points", 0, "noise", to="from the operating system's generator")),
        "promise.noise = 'seeded",
    ),
    "a better reference, covered": (
        operator(at("references", "zero_shot", "metrics_status", to="released")),
        "references.zero_shot.metrics_status = 'released' claimed",
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


@pytest.fixture
def folders(run, deployed, tmp_path):
    """A copy of a run's folder, by kind."""
    whole = {"simulated": run, "deployed": deployed}
    return lambda kind: shutil.copytree(whole[kind], tmp_path / "copy")


def said(report):
    return "\n".join([*report.problems, *(at for row in report.rows for at in row.reasons)])


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


# 200 edits, drawn once and for all.


def released(run):
    names = [*sealed_files(load(run)), "results.json", *(f.name for f in run.glob("ledger-*"))]
    return [run / name for name in names]


def fields(tree, path=()):
    if isinstance(tree, dict | list) and tree:
        pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return [found for name, value in pairs for found in fields(value, (*path, name))]
    return [path] if path else []


def edit_a_byte(rng, run):
    file = rng.choice(released(run))
    content = bytearray(file.read_bytes())
    place = rng.randrange(len(content))
    kind = rng.choice(["flip", "cut", "add"])
    if kind == "flip":
        content[place] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del content[place]
    else:
        content.insert(place, rng.randrange(256))
    file.write_bytes(content)
    return file.name, kind, place


def edit_a_field(rng, run):
    found = load(run)
    path = rng.choice(fields(found))
    inside = found
    for name in path[:-1]:
        inside = inside[name]
    old = inside[path[-1]]
    inside[path[-1]] = rng.choice([value for value in (0, 1, "", None, 0.5, "x") if value != old])
    write(run, found)
    return path, old, inside[path[-1]]


@pytest.mark.parametrize("kind", ["simulated", "deployed"])
@pytest.mark.parametrize("edit", [edit_a_byte, edit_a_field])
def test_no_edit_of_a_released_file_goes_unnoticed(kind, edit, folders):
    copy, rng = folders(kind), random.Random(13)
    before = {file: file.read_bytes() for file in released(copy)}
    for _ in range(50):
        done = edit(rng, copy)
        try:
            noticed = verify_run(copy).exit_code == 3
        except StarlingError:  # results.json is no results any more
            noticed = True
        assert noticed, done
        for file, content in before.items():
            if file.read_bytes() != content:
                file.write_bytes(content)
