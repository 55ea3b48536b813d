"""No random edit of what a run hands on goes unnoticed: 60 of them, drawn once and for all."""

import random

import pytest

from shared.errors import StarlingError
from shared.privacy.ledger.seal import sealed_files
from simulations.verify.run import verify_run
from tests.support.privacy.forging import load, write


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
    for _ in range(15):
        done = edit(rng, copy)
        try:
            noticed = verify_run(copy).exit_code == 3
        except StarlingError:  # results.json is no results any more
            noticed = True
        assert noticed, done
        for file, content in before.items():
            if file.read_bytes() != content:
                file.write_bytes(content)
