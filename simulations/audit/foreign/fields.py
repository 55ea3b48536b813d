"""Fields of a JSON object from anyone: each of the kind and in the range that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shared.errors import DataError, nearest
from shared.printable import printable

_SHOWN = 40  # letters of a value


def refused(name: str, value: object, expected: str) -> DataError:
    """The error for a value that is not accepted."""
    if isinstance(value, list | dict):
        shown = f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    else:
        shown = repr(value) if not isinstance(value, str) else repr(value[:_SHOWN])
    return DataError(f"{name} = {printable(shown)}: expected {expected}")


class Fields:
    """An object of a JSON file, whose fields are asked for by name.

    Parameters
    ----------
    tree : object
    file : str
        As errors name it.
    within : str
        Where the object stands in it.

    Raises
    ------
    DataError
        Here and in all methods: for what is missing, of another kind, or outside its range.
    """

    def __init__(self, tree: object, file: str, within: str = "") -> None:
        if not isinstance(tree, dict):
            place = f"{file}: {within}" if within else file
            raise refused(place, tree, "an object of named fields")
        self._tree, self._file, self._within = tree, file, within
        self._asked = list[str]()

    def name(self, field: str) -> str:
        """As errors call it."""
        return f"{self._file}: {self._path(field)}"

    def _path(self, field: str) -> str:
        return f"{self._within}.{field}" if self._within else field

    def has(self, field: str) -> bool:
        """Whether it is there, and not null."""
        self._asked.append(field)
        return self._tree.get(field) is not None

    def value(self, field: str, expected: str) -> Any:
        """Whatever is there."""
        if not self.has(field):
            raise DataError(f"{self.name(field)}: missing; expected {expected}")
        return self._tree[field]

    def number(self, field: str, low: float, high: float) -> float:
        """In [low, high]."""
        expected = f"a number from {low:g} to {high:g}"
        value = self.value(field, expected)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise refused(self.name(field), value, expected)
        if not low <= value <= high:
            raise refused(self.name(field), value, expected)
        return float(value)

    def whole(self, field: str, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        expected = f"a whole number from {low} to {high}"
        return _whole(self.name(field), self.value(field, expected), (low, high), expected)

    def word(self, field: str, known: tuple[str, ...]) -> Any:
        """One of some words."""
        expected = f"one of {', '.join(known)}"
        value = self.value(field, expected)
        if not isinstance(value, str) or value not in known:
            hint = nearest(value, known) if isinstance(value, str) and len(value) < 100 else ""
            raise refused(self.name(field), value, expected + hint)
        return value

    def text(self, field: str, longest: int) -> str:
        """1 to `longest` letters."""
        expected = f"text of 1 to {longest} printable letters"
        return _text(self.name(field), self.value(field, expected), longest, expected)

    def inside(self, field: str) -> Fields:
        """An object in this one."""
        return Fields(self.value(field, "an object"), self._file, self._path(field))

    def items(self, field: str, most: int, what: str) -> list[Any]:
        """A list of 1 to `most` things."""
        expected = f"a list of 1 to {most} {what}"
        value = self.value(field, expected)
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise refused(self.name(field), value, expected)
        return value

    def objects(self, field: str, most: int, what: str) -> Iterator[Fields]:
        """A list of objects."""
        for at, each in enumerate(self.items(field, most, what)):
            yield Fields(each, self._file, f"{self._path(field)}[{at}]")

    def names(self, field: str, most: int) -> tuple[str, ...]:
        """A list of clients, none of them twice."""
        found, seen = self.items(field, most, "clients"), set[str]()
        for at, each in enumerate(found):
            where = f"{self.name(field)}[{at}]"
            name = _text(where, each, 100, "a client as text of 1 to 100 printable letters")
            if name in seen:
                raise refused(where, name, "each client once")
            seen.add(name)
        return tuple(found)

    def wholes(self, field: str, count: int, low: int, high: int) -> tuple[int, ...]:
        """A list of `count` whole numbers in [low, high]."""
        expected = f"a list of {count} whole numbers from {low} to {high}"
        value = self.value(field, expected)
        if not isinstance(value, list) or len(value) != count:
            raise refused(self.name(field), value, expected)
        one = f"a whole number from {low} to {high}"
        return tuple(
            _whole(f"{self.name(field)}[{at}]", each, (low, high), one)
            for at, each in enumerate(value)
        )

    def bits(self, field: str, count: int) -> tuple[bool, ...]:
        """A list of `count` times true or false."""
        expected = f"a list of {count} times true or false"
        value = self.value(field, expected)
        if not isinstance(value, list) or len(value) != count:
            raise refused(self.name(field), value, expected)
        for at, each in enumerate(value):
            if not isinstance(each, bool):
                raise refused(f"{self.name(field)}[{at}]", each, "true or false")
        return tuple(value)

    def end(self) -> None:
        """Refuse a field that nobody asked for."""
        for field in self._tree:
            if field not in self._asked:
                hint = nearest(field, self._asked) if len(field) < 100 else ""
                shown = printable(field[:_SHOWN])
                raise DataError(
                    f"{self.name(shown)}: unknown; expected {', '.join(sorted({*self._asked}))}"
                    f"{hint}"
                )


def _whole(name: str, value: object, within: tuple[int, int], expected: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise refused(name, value, expected)
    if not within[0] <= value <= within[1]:
        raise refused(name, value, expected)
    return value


def _text(name: str, value: object, longest: int, expected: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= longest or not value.isprintable():
        raise refused(name, value, expected)
    return value
