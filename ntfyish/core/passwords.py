"""The one home of password hashing: bcrypt at ntfy's cost, so that hashes can be carried either way."""

from __future__ import annotations

import hashlib

import bcrypt

from ntfyish.model.errors import Invalid, Reason
from ntfyish.model.passwords import find_password_fault

COST = 10


def hash_password(password: str) -> str:
    """Return the bcrypt hash of `password`. Takes some 50 ms of CPU: not on the event loop of a busy server.

    Raises:
        Invalid: REQUEST_INVALID if it is empty, longer than 72 bytes, or contains a NUL.
    """
    if fault := find_password_fault(password):
        raise Invalid(Reason.REQUEST_INVALID, f"the password {fault}")
    return bcrypt.hashpw(password.encode("utf-8", "surrogateescape"), bcrypt.gensalt(COST)).decode()


def hash_access_token(token: str) -> str:
    """Return what is kept of an access token: its SHA-256 in hex. Random as it is, it needs no salt."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
