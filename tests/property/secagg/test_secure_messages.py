"""Whatever bytes come, a reader takes them in their one form or raises the named error.

`python benchmarks/fuzz_messages.py` does the same for minutes, led by what the code covers.
"""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.privacy.parsers import Parsers

PARSERS = Parsers()
NAMES = sorted(PARSERS.samples)


@st.composite
def altered(draw, name):
    """A sample with a few places cut out, repeated, or written over."""
    data = draw(st.sampled_from(PARSERS.samples[name]))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from([0, 1, 4, 8, 32, 64])))
        put = draw(
            st.binary(max_size=8)
            | st.sampled_from([b"\xff" * 4, b"\xff" * 8, bytes(8), data[:40], data])
            | st.just(data[start:end] * 2)
        )
        data = data[:start] + put + data[end:]
    return data


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_taken(name):
    assert all(PARSERS(name, data) for data in PARSERS.samples[name])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_bytes(name, data):
    PARSERS(name, data.draw(altered(name) | st.binary(max_size=300)))


@pytest.mark.parametrize("name", NAMES)
def test_every_cut_and_every_longer_message_is_refused(name):
    if name == "session":  # whose context may have any length
        return
    for sample in PARSERS.samples[name][:1]:
        cuts = range(0, len(sample), 1 + len(sample) // 60)
        taken = [cut for cut in cuts if PARSERS(name, sample[:cut])]
        expected = [] if name != "an aggregator's replies" else list(cuts)  # they do not count
        assert taken == expected
        assert PARSERS(name, sample + b"\0") is (name == "an aggregator's replies")


@pytest.mark.parametrize("name", NAMES)
def test_claims_allocate_nothing(name):
    """Every four bytes in turn claim the most that they can."""
    for sample in PARSERS.samples[name]:
        tracemalloc.start()
        for place in range(0, min(len(sample), 120)):
            PARSERS(name, sample[:place] + b"\xff" * 4 + sample[place + 4 :])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**20
