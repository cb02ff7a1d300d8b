"""The token by which Apple knows an app's server: one for all connections of an app (RFC 7519, ES256).

Apple takes a token for an hour and does not want a new one more often than every 20 minutes; a token for each
connection, as aioapns makes them by itself, would soon be answered with TooManyProviderTokenUpdates.
"""

from __future__ import annotations

import jwt
from aioapns.connection import AuthorizationHeaderProvider
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ntfyish.core.ports import Clock

RENEWED_AFTER_S = 50 * 60
LEAST_PAUSE_S = 20 * 60
_AHEAD_S = 60  # a token that was issued later than this from now: the clock has been set back


class ProviderToken(AuthorizationHeaderProvider):
    """Signs the token, and signs it again when it is time.

    Args:
        key: as `read_key` returns it.
        key_id, team_id: what Apple calls them.
    """

    def __init__(self, key: EllipticCurvePrivateKey, key_id: str, team_id: str, clock: Clock) -> None:
        self._key = key
        self._key_id = key_id
        self._team_id = team_id
        self._clock = clock
        self._header = ""
        self._issued_at = 0
        self._signed_at = 0.0  # on the clock that never jumps

    def get_header(self) -> str:
        """Return the value of the header ``authorization``."""
        age_s = self._clock.now() - self._issued_at
        if not self._header or not -_AHEAD_S < age_s < RENEWED_AFTER_S:
            self._sign()
        return self._header

    def replace(self, expired: str) -> bool:
        """Apple says that the header `expired` is out of date: return whether there is another to try.

        It is signed again if that was not done in the last 20 minutes.
        """
        if expired == self._header:
            if self._clock.monotonic() - self._signed_at < LEAST_PAUSE_S:
                return False
            self._sign()
        return True

    def _sign(self) -> None:
        self._issued_at = int(self._clock.now())
        self._signed_at = self._clock.monotonic()
        claims = {"iss": self._team_id, "iat": self._issued_at}
        token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
        self._header = f"bearer {token}"


def read_key(pem: bytes) -> EllipticCurvePrivateKey:
    """Return the private key in the text of a .p8 file.

    Raises:
        ValueError: it is none that Apple could have given.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it has a password
        raise ValueError("is not a private key (PEM) without a password") from error
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("is not a key for ES256, as Apple gives them")
    return key
