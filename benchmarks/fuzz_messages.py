"""Fuzz every reader of secure aggregation: no crash, no hang, no unbounded allocation.

    pip install atheris
    python benchmarks/fuzz_messages.py -max_total_time=600

Anything but a `SecureAggregationError` is a crash, as are 5 seconds or 1 GiB for one message.
Arguments are libFuzzer's. The first byte of an input says which reader it is for.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["shared.secagg"]):
    from tests.support.privacy.parsers import Parsers


def main() -> None:
    """Begin with the samples, until time is up or something is found."""
    parsers = Parsers()
    names = sorted(parsers.samples)

    def one(data: bytes) -> None:
        if data:
            parsers(names[data[0] % len(names)], data[1:])

    with tempfile.TemporaryDirectory() as folder:
        for kind, name in enumerate(names):
            for number, sample in enumerate(parsers.samples[name]):
                Path(folder, f"{kind}-{number}").write_bytes(bytes([kind]) + sample)
        limits = ["-timeout=5", "-rss_limit_mb=1024", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *limits, *sys.argv[1:], folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
