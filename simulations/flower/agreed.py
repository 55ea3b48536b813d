"""What simulated people check of a policy: once per process and request, not once per person.

They trust whoever runs the simulation, so the policy's own issuer must have signed it. A real
device checks more, see `client.device.agreement`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from client.device.agreement import Ask, check_request
from shared.errors import ConfigError, PrivacyError, ProtocolError
from shared.request import Request


def check_agreed(request: Request, schema: str) -> None:
    """Refuse a request that its policy does not cover.

    Parameters
    ----------
    request : Request
    schema : str
        Digest of the adapter here.

    Raises
    ------
    ProtocolError
        In words.
    """
    asked = (request.release, request.round_number, request.users, request.settings)
    _check(Ask(*asked, schema, request.policy))


@lru_cache(maxsize=256)
def _check(ask: Ask) -> None:
    try:
        check_request(ask, None, datetime.now(UTC))
    except (ConfigError, PrivacyError) as error:
        raise ProtocolError(f"round {ask.round_number}: {error}") from None
