"""What simulated people check of a policy: its signature once per process, not once per person.

They trust whoever runs the simulation, so the policy's own issuer must have signed it. A real
device checks more, see `client.device.agreement`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from client.device.covered import check_request
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
    try:
        check_request(request, None, datetime.now(UTC), schema)
    except (ConfigError, PrivacyError) as error:
        raise ProtocolError(f"round {request.round_number}: {error}") from None
