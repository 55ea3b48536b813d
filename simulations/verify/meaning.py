"""Whether what a point says its epsilon means is what its ledger gives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from shared.errors import ConfigError
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.ledger.spent import meaning_of
from simulations.results import Claim, Stated
from simulations.verify.terms import Expected

# Another build of the accountant's numerics may differ in the last digits; relative.
_TOLERANCE = 1e-3


def meaning_reasons(record: Ledger | DeviceLedgers, claim: Claim, expected: Expected) -> list[str]:
    """Every figure beside epsilon: what exceeds it, of groups, of units whose rounds are known."""
    if expected.config is None:
        return []
    if math.isinf(record.epsilon()):
        told = claim.get("meaning") is not None
        return ["meaning claimed, and an epsilon of infinity has none"] if told else []
    try:
        own = meaning_of(record, expected.config, expected.users).stated()
    except (ArithmeticError, ConfigError, ValueError) as error:  # of some numbers nothing can
        return [f"meaning: cannot be recomputed ({str(error)[:200]})"]
    return list(differing("meaning", claim.get("meaning"), own))


def differing(
    where: str, stated: object, own: object, source: str = "the ledger gives"
) -> Iterator[str]:
    """Where two JSON values differ by more than the tolerance."""
    if isinstance(own, Mapping) and isinstance(stated, Mapping) and set(own) == set(stated):
        for name in own:
            yield from differing(f"{where}.{name}", stated[name], own[name], source)
    elif isinstance(own, list) and isinstance(stated, list) and len(own) == len(stated):
        for index, (one, other) in enumerate(zip(stated, own, strict=True)):
            yield from differing(f"{where}[{index}]", one, other, source)
    elif not _same(stated, own):
        yield f"{where} = {str(stated)[:60]} claimed, {source} {str(own)[:60]}"


def _same(stated: object, own: object) -> bool:
    if isinstance(own, float) and not isinstance(stated, bool):
        value = Stated({"value": stated}).number("value")
        return value == own or abs(value - own) <= _TOLERANCE * abs(own)
    return type(stated) is type(own) and stated == own
