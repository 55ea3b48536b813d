"""Reading a foreign run: every error is one line with file, field, value and what is expected."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.canonical import read_json
from shared.errors import DataError
from shared.printable import printable
from simulations.audit.canaries import Canaries
from simulations.audit.foreign.arrays import MOST, Arrays, arrays_of, read_bytes, room
from simulations.audit.foreign.fields import Fields, refused
from simulations.audit.foreign.run import Claim, ForeignRun, Noise, Round, Sampling

FILE, FORMAT = "federated-run.json", "federated-run/1"

_LARGEST_FILE = 2**24  # bytes of FILE
_MOST_CLIENTS, _MOST_ROUNDS, _MOST_TENSORS = 10**9, 10**6, 10**4
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_RELATIONS = ("zero_out", "add_or_remove", "replace_one")


def read(folder: Path) -> ForeignRun:
    """The run in a folder.

    Parameters
    ----------
    folder : Path
        Holds `federated-run.json`, and the files that it names.

    Raises
    ------
    DataError
        For anything that is not in the format, or more than the format allows.
    """
    content = read_bytes(folder / FILE, _LARGEST_FILE)
    try:
        tree = read_json(content)
    except ValueError as error:
        told = printable(str(error)[:100])
        raise DataError(f"{folder / FILE}: not strict JSON ({told})") from None
    fields = Fields(tree, str(folder / FILE))
    if fields.value("format", FORMAT) != FORMAT:
        raise refused(fields.name("format"), tree["format"], FORMAT)
    return _Reader(folder, fields, content).run()


class _Reader:
    """One reading: what is left of the numbers that a run may have, and what was read."""

    def __init__(self, folder: Path, fields: Fields, content: bytes) -> None:
        self._folder, self._fields, self._left = folder, fields, MOST
        self._digests = {FILE: hashlib.sha256(content).hexdigest()}

    def run(self) -> ForeignRun:
        fields = self._fields
        name, claim = fields.text("name", 200), _claim(fields.inside("claim"))
        released = fields.word("released", ("sum", "mean", "model"))
        divisor = fields.number("divisor", 1e-6, 1e9) if fields.has("divisor") else None
        tensors = _tensors(fields) if fields.has("tensors") else ()
        rounds = list[Round]()
        for each in fields.objects("rounds", _MOST_ROUNDS, "rounds"):
            rounds.append(self._round(each, rounds[-1].number if rounds else 0))
            self._check_dim(each, rounds, tensors)
            if released == "model" and rounds[-1].released is not None and rounds[-1].start is None:
                raise DataError(f"{each.name('file')}: start is missing, from which a model moved")
        named = [name for each in rounds for name in (*_of(each.asked), *_of(each.members))]
        canaries = None
        if fields.has("canaries"):
            inside = fields.inside("canaries")
            known = inside.names("clients", _dim(rounds) or 1)
            canaries = _canaries(inside, known, _dim(rounds))
            named += known
        fields.end()
        clients = {name: place for place, name in enumerate(dict.fromkeys(named))}
        if len(clients) > claim.clients:
            expected = f"at least the {len(clients)} who are named"
            raise refused(fields.name("claim.clients"), claim.clients, expected)
        if canaries:
            canaries = replace(canaries, keys=tuple(clients[name] for name in known))
        return ForeignRun(
            name, claim, released, divisor, tensors, tuple(rounds), clients, canaries, self._digests
        )

    def _round(self, fields: Fields, before: int) -> Round:
        number = fields.whole("round", before + 1, _MOST_ROUNDS)
        members = fields.names("members", _MOST_CLIENTS) if fields.has("members") else None
        asked = fields.names("asked", _MOST_CLIENTS) if fields.has("asked") else members
        if uninvited := {*_of(members)} - {*_of(asked)}:
            raise refused(fields.name("members"), min(uninvited), "only clients who were asked")
        examples = None
        if fields.has("examples"):
            examples = fields.wholes("examples", len(_of(members)), 1, 10**9)
        arrays: Arrays = {}
        if fields.has("file"):
            arrays = self._arrays(fields)
        fields.end()
        return _filled(Round(number, asked, members, examples), arrays, fields)

    def _arrays(self, fields: Fields) -> Arrays:
        name = fields.text("file", 100)
        if not _NAME.fullmatch(name):
            expected = "a name in the folder, of letters, digits, '.', '-' and '_'"
            raise refused(fields.name("file"), name, expected)
        if name in self._digests:
            raise refused(fields.name("file"), name, "a file of this round alone")
        file = self._folder / name
        content = read_bytes(file, room(self._left))
        self._digests[name] = hashlib.sha256(content).hexdigest()
        found = arrays_of(content, file, self._left)
        self._left -= sum(each.size for each in found.values())
        return found

    def _check_dim(
        self, fields: Fields, rounds: list[Round], tensors: tuple[tuple[str, int], ...]
    ) -> None:
        """All arrays of all rounds are as long as each other, and as tensors say."""
        expected = sum(size for _, size in tensors) or _dim(rounds)
        for name, array in _numbers(rounds[-1]):
            if array.shape[-1] != expected:
                place = f"{fields.name('file')}: length of {name}"
                raise refused(place, array.shape[-1], f"{expected}, as elsewhere")


def _of(names: tuple[str, ...] | None) -> tuple[str, ...]:
    return names or ()


def _claim(fields: Fields) -> Claim:
    fields.word("unit", ("user",))
    relation = fields.word("relation", _RELATIONS)
    clients = fields.whole("clients", 1, _MOST_CLIENTS)
    found = Claim(
        relation="zero_out" if relation == "add_or_remove" else relation,
        clipping_norm=fields.number("clipping_norm", 1e-9, 1e9),
        noise=_noise(fields.inside("noise")),
        clients=clients,
        sampling=_sampling(fields.inside("sampling"), clients),
        rounds=fields.whole("rounds", 1, _MOST_ROUNDS),
        weights=fields.word("weights", ("equal", "examples")),
        delta=fields.number("delta", 1e-30, 0.5),
        epsilon=fields.number("epsilon", 1e-3, 1e6) if fields.has("epsilon") else float("inf"),
        accountant=fields.text("accountant", 200) if fields.has("accountant") else "",
    )
    fields.end()
    return found


def _noise(fields: Fields) -> Noise:
    if fields.has("multiplier") == fields.has("deviation"):
        told = "both multiplier and deviation, or neither"
        raise DataError(f"{fields.name('multiplier')}: {told}; expected one of them")
    if fields.has("multiplier"):
        found = Noise(_strength(fields, "multiplier"), None)
    else:
        found = Noise(None, _strength(fields, "deviation"), fields.word("of", ("sum", "mean")))
    fields.end()
    return found


def _strength(fields: Fields, name: str) -> float:
    """None at all, or no less than what can be computed with."""
    value = fields.number(name, 0.0, 1e9)
    if 0 < value < 1e-9:
        raise refused(fields.name(name), value, "0, or at least 1e-09")
    return value


def _sampling(fields: Fields, clients: int) -> Sampling:
    kind = fields.word("kind", ("everyone", "poisson", "fixed"))
    found = Sampling(kind)
    if kind == "poisson":
        found = Sampling(kind, probability=fields.number("probability", 1e-9, 1.0))
    if kind == "fixed":
        cohort = fields.whole("cohort", 1, clients)
        found = Sampling(kind, probability=cohort / clients, cohort=cohort)
    fields.end()
    return found


def _tensors(fields: Fields) -> tuple[tuple[str, int], ...]:
    found = dict[str, int]()
    for each in fields.objects("tensors", _MOST_TENSORS, "tensors"):
        name = each.text("name", 200)
        if name in found:
            raise refused(each.name("name"), name, "each tensor once")
        found[name] = each.whole("size", 1, MOST)
        each.end()
    return tuple(found.items())


def _canaries(fields: Fields, names: tuple[str, ...], dim: int) -> Canaries:
    """Who was in, numbered as they are listed."""
    if len(names) < 2 or not dim:
        expected = "two or more, in a run that has arrays"
        raise refused(fields.name("clients"), [*names], expected)
    included = fields.bits("included", len(names))
    coordinates = fields.wholes("coordinates", len(names), 0, dim - 1)
    fields.end()
    if len({*coordinates}) < len(names):
        raise refused(fields.name("coordinates"), [*coordinates], "each coordinate once")
    return Canaries(
        tuple(range(len(names))),
        np.array(included, dtype=np.bool_),
        np.array(coordinates, dtype=np.int64),
    )


def _filled(told: Round, arrays: Arrays, fields: Fields) -> Round:
    """The round with its arrays, where they fit who is in it."""
    for name, array in arrays.items():
        place = f"{fields.name('file')}: shape of {name}"
        if name in ("sent", "clipped"):
            expected, count = "[{}, length], a row for each member", len(_of(told.members))
            if array.ndim != 2 or len(array) != count:
                raise refused(place, _shape(array), expected.format(count))
        elif array.ndim != 1:
            raise refused(place, _shape(array), "[length]")
    rows = {n: arrays[n].astype(np.float32) for n in ("sent", "clipped") if n in arrays}
    flat = {n: arrays[n].astype(np.float64) for n in ("start", "released") if n in arrays}
    exact = all(arrays[name].dtype.itemsize == 8 for name in flat)
    return replace(
        told,
        sent=rows.get("sent"),
        clipped=rows.get("clipped"),
        start=flat.get("start"),
        released=flat.get("released"),
        rounding=2.0**-53 if exact else 2.0**-24,
    )


def _shape(array: npt.NDArray[Any]) -> str:
    return " x ".join(map(str, array.shape))


def _numbers(each: Round) -> list[tuple[str, npt.NDArray[Any]]]:
    found = {
        "sent": each.sent,
        "clipped": each.clipped,
        "start": each.start,
        "released": each.released,
    }
    return [(name, array) for name, array in found.items() if array is not None]


def _dim(rounds: list[Round]) -> int:
    """Length of the arrays; 0 where there are none."""
    return next((array.shape[-1] for each in rounds for _, array in _numbers(each)), 0)
