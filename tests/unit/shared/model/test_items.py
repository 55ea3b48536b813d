"""Item vectors: what they are, and a cache that is never trusted more than it deserves."""

import errno
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from shared.data.attributes import EXTRA
from shared.files import cache_folder
from shared.model import items
from shared.model.backbone import resolve
from shared.model.items import item_vectors
from tests.support.tiny import HIDDEN

TEXTS = ["Alpha. Drama", "Beta, a longer text about the sea", "Gamma", "Delta. Comedy"]


@pytest.fixture
def source(tiny_bert):
    return resolve(str(tiny_bert))


@pytest.fixture
def encodings(monkeypatch):
    """How often the language model was asked."""
    calls, encode = [], items.text_states

    def spy(texts, *rest):
        calls.append(list(texts))
        return encode(texts, *rest)

    monkeypatch.setattr(items, "text_states", spy)
    return calls


def cached(folder):
    (file,) = (folder / "items").iterdir()
    return file


def test_vectors_are_centred_and_of_unit_length(source, tmp_path):
    table = item_vectors(TEXTS, source, tmp_path)
    assert table.shape == (4, HIDDEN + EXTRA)
    vectors = table[:, :HIDDEN]
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    pooled = np.load(cached(tmp_path))
    centred = pooled - pooled.mean(0)
    np.testing.assert_allclose(
        vectors * np.linalg.norm(centred, axis=1)[:, None], centred, atol=1e-5
    )


def test_a_vector_does_not_depend_on_the_batch_it_was_encoded_in(source, tmp_path):
    """Padding is masked out of the mean."""
    together = item_vectors(TEXTS, source, tmp_path / "a", batch=64)
    alone = item_vectors(TEXTS, source, tmp_path / "b", batch=1)
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_second_time_comes_from_the_cache(source, tmp_path, encodings):
    first = item_vectors(TEXTS, source, tmp_path)
    np.testing.assert_array_equal(item_vectors(TEXTS, source, tmp_path), first)
    assert len(encodings) == 1


def test_other_texts_or_another_order_are_another_entry(source, tmp_path, encodings):
    item_vectors(TEXTS, source, tmp_path)
    item_vectors([*TEXTS[:3], "Epsilon"], source, tmp_path)
    item_vectors(TEXTS[::-1], source, tmp_path)
    # Joined texts must not be confused with separate ones.
    item_vectors(["Alpha", "Beta", "x"], source, tmp_path)
    item_vectors(["AlphaBeta", "", "x"], source, tmp_path)
    assert len(encodings) == 5


SPOILED = {
    "empty": lambda file: file.write_bytes(b""),
    "torn": lambda file: file.write_bytes(file.read_bytes()[:-40]),
    "nonsense": lambda file: file.write_bytes(b"nonsense"),
    "fewer rows": lambda file: np.save(file, np.load(file)[:-1]),
    "another type": lambda file: np.save(file, np.load(file).astype(np.float64)),
    "not finite": lambda file: np.save(file, np.load(file) * np.nan),
    "an archive": lambda file: file.write_bytes(b"PK\x03\x04 no archive"),
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=list(SPOILED))
def test_a_spoiled_cache_is_encoded_anew(spoil, source, tmp_path, encodings):
    first = item_vectors(TEXTS, source, tmp_path)
    spoil(cached(tmp_path))
    np.testing.assert_array_equal(item_vectors(TEXTS, source, tmp_path), first)
    assert len(encodings) == 2
    item_vectors(TEXTS, source, tmp_path)
    assert len(encodings) == 2  # and was repaired


def test_a_cache_that_cannot_be_written_is_done_without(source, tmp_path, encodings):
    (tmp_path / "items").write_text("a file where the folder should be")
    first = item_vectors(TEXTS, source, tmp_path)
    np.testing.assert_array_equal(item_vectors(TEXTS, source, tmp_path), first)
    assert len(encodings) == 2


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("STARLING_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("STARLING_CACHE")
    assert cache_folder().name == "starling"


def test_two_that_encode_into_one_cache_at_once(source, tmp_path, monkeypatch):
    """Both miss the cache and both write; whoever reads sees a whole file."""
    pooled = np.arange(4 * HIDDEN, dtype=np.float32).reshape(4, HIDDEN)
    both = threading.Barrier(2, timeout=300)

    def together(texts, *rest):
        both.wait()
        return pooled

    monkeypatch.setattr(items, "text_states", together)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: item_vectors(TEXTS, source, tmp_path), range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.load(cached(tmp_path)), pooled)  # one file, nothing else


def test_a_full_disk_is_not_filled_further(source, tmp_path, monkeypatch):
    def full(stream, vectors):
        stream.write(b"part of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(items.np, "save", full)
    assert item_vectors(TEXTS, source, tmp_path).shape == (4, HIDDEN + EXTRA)
    assert list((tmp_path / "items").iterdir()) == []


def test_an_item_without_a_text_is_like_none_and_moves_no_other(source, tmp_path):
    whole = item_vectors(TEXTS, source, tmp_path / "a")
    partly = item_vectors(["", *TEXTS[:2], "", *TEXTS[2:]], source, tmp_path / "b")
    assert not partly[[0, 3]].any()
    np.testing.assert_allclose(partly[[1, 2, 4, 5], :HIDDEN], whole[:, :HIDDEN], atol=1e-5)


def test_where_no_item_has_a_text_all_vectors_are_zero(source, tmp_path):
    for _ in range(2):  # the second time from the cache
        table = item_vectors(["", "", ""], source, tmp_path)
        assert table.shape == (3, HIDDEN + EXTRA)
        assert not table.any()
