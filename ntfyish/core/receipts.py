"""Emergencies: repeats them until somebody acknowledges, and answers for their receipts."""

from __future__ import annotations

from ntfyish.core.passwords import hash_access_token
from ntfyish.model.people import Account, App


def app_owner(app: App) -> str:
    """Return the owner of what an app has sent. Its token is not kept with every receipt, only a hash."""
    return f"app:{hash_access_token(app.token)}"


def account_owner(account: Account | None) -> str:
    """Return the owner of what an account has published; "" for nobody in particular."""
    return "" if account is None else f"account:{account.name}"
