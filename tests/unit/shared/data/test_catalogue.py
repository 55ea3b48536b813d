"""The catalogue's rules and its fingerprint."""

import pytest

from shared.data.catalogue import Catalogue
from shared.errors import DataError


def test_index_is_the_position_and_unknown_items_are_refused() -> None:
    catalogue = Catalogue(("a", "b", "c"), ("A", "B", "C"))
    assert [catalogue.index(item) for item in catalogue.item_ids] == [0, 1, 2]
    assert len(catalogue) == 3
    assert "b" in catalogue
    assert "z" not in catalogue
    with pytest.raises(DataError, match="item 'z' is not among the 3 items"):
        catalogue.index("z")


@pytest.mark.parametrize(
    ("ids", "texts", "message"),
    [
        (("a",), ("A",), r"1 item\(s\); at least 2"),
        ((), (), r"0 item\(s\); at least 2"),
        (("a", "a"), ("A", "B"), "item 'a' appears twice"),
        (("a", "b"), ("A", " "), "item 'b' has no text"),
        (("a", ""), ("A", "B"), "id is blank"),
        (("a", "b"), ("A",), "2 item ids but 1 texts"),
    ],
)
def test_broken_catalogues_are_refused_in_one_line(
    ids: tuple[str, ...], texts: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message) as raised:
        Catalogue(ids, texts)
    assert "\n" not in str(raised.value)


def test_digest_tells_ids_texts_and_their_borders_apart() -> None:
    digest = Catalogue(("a", "b"), ("A", "B")).digest
    assert digest == Catalogue(("a", "b"), ("A", "B")).digest
    assert len(digest) == 64
    others = [
        Catalogue(("b", "a"), ("A", "B")),
        Catalogue(("a", "b"), ("A", "C")),
        Catalogue(("b", "a"), ("B", "A")),
        Catalogue(("a,b", "c"), ("A", "B")),
        Catalogue(("a", "b,c"), ("A", "B")),
    ]
    assert len({digest, *(other.digest for other in others)}) == 6


SAYS = {
    "a title": ("7", "Alien. Horror", True),
    "its identifier": ("1682", "1682", False),
    "its identifier, of letters": ("alien", "alien", False),
    "its name, of two words": ("Toy Story", "Toy Story", True),
    "a code": ("7", "B00X4WHP5E", False),
    "codes": ("7", "550e8400-e29b-41d4 x9", False),
    "a letter": ("7", "X", False),
    "a character of another script": ("7", "\u6c34", True),
    "a year alone": ("7", "1984", False),
    "what all of them say": ("7", "item 7", False),
    "more than all of them say": ("7", "item 7, red", True),
}


@pytest.mark.parametrize(("item", "text", "says"), SAYS.values(), ids=SAYS)
def test_a_text_that_says_nothing_is_none(item: str, text: str, says: bool) -> None:
    others = tuple(f"other-{n}" for n in range(12))
    words = ("red", "blue", "green", "long", "short", "wide", "deep", "thin", "flat", "odd")
    texts = tuple(f"item {word}" for word in (*words, "round", "even"))
    catalogue = Catalogue((item, *others), (text, *texts))
    assert catalogue.described == (text if says else "", *texts)
    assert catalogue.stated() == ({} if says else {"items_without_text": 1})
