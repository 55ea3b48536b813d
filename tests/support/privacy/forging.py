"""How the folder of a run is forged: files, claims, seals."""

import json
import shutil

from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from shared.privacy.ledger.chain import Chain
from shared.privacy.ledger.promise import promise_text, read_promise
from shared.privacy.ledger.seal import digests, sealed_files, text_of, write_sealed

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


def said(report):
    return "\n".join([*report.problems, *(at for row in report.rows for at in row.reasons)])
