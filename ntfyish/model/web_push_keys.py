"""Keys of Web Push: the server's pair (VAPID, RFC 8292) and those of a browser's subscription (RFC 8291).

The only part of the model that needs `cryptography`; whoever has no use for Web Push does not import it.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_CURVE = ec.SECP256R1()
_PRIVATE_BYTES = 32
_AUTH_BYTES = 16
_LONGEST = 100
_STANDARD = str.maketrans("-_", "+/")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class VapidKeys:
    """The server's pair, by which a push service knows who sends.

    Attributes:
        public: the point, 65 bytes in base64url; browsers subscribe with it.
        private: signs.
    """

    public: str
    private: ec.EllipticCurvePrivateKey = field(repr=False)


def new_vapid_keys() -> tuple[str, str]:
    """Return a new pair as ntfy writes it: the public point and the private number, in base64url."""
    private = ec.generate_private_key(_CURVE)
    number = private.private_numbers().private_value.to_bytes(_PRIVATE_BYTES, "big")
    return _encode(_point(private)), _encode(number)


def read_vapid_keys(public: str, private: str) -> VapidKeys:
    """Return the pair that the settings name.

    Raises:
        ValueError: one of them is no key, or they do not belong together; says so.
    """
    try:
        number = _decode(private)
        if len(number) != _PRIVATE_BYTES:
            raise ValueError
        key = ec.derive_private_key(int.from_bytes(number, "big"), _CURVE)
    except ValueError:
        raise ValueError("the private key must be 32 bytes in base64url, a key of P-256") from None
    try:
        point = _read_point(public)
    except ValueError:
        raise ValueError("the public key must be 65 bytes in base64url, a point of P-256") from None
    if point != _point(key):
        raise ValueError("the public and the private key are no pair")
    return VapidKeys(_encode(point), key)


def read_subscription_keys(p256dh: str, auth: str) -> tuple[str, str]:
    """Return a browser's keys in base64url without padding, as it should have spelt them.

    Raises:
        ValueError: `p256dh` is no point of P-256, or `auth` is not 16 bytes.
    """
    secret = _decode(auth)
    if len(secret) != _AUTH_BYTES:
        raise ValueError("auth must be 16 bytes")
    return _encode(_read_point(p256dh)), _encode(secret)


def decode_subscription_keys(p256dh: str, auth: str) -> tuple[bytes, bytes]:
    """Return the point and the secret of a browser that `read_subscription_keys` has let pass.

    Raises:
        ValueError: it has not.
    """
    return _decode(p256dh), _decode(auth)


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _read_point(text: str) -> bytes:
    point = _decode(text)
    if len(point) != 65:  # the compressed form is a point, too, but none that browsers give
        raise ValueError("a point has 65 bytes")
    ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
    return point


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Read base64 in either alphabet, padded or not; browsers' libraries differ."""
    if len(text) > _LONGEST or not _BASE64.fullmatch(text):
        raise ValueError("not base64")
    text = text.rstrip("=").translate(_STANDARD)
    return base64.b64decode(text + "=" * (-len(text) % 4))
