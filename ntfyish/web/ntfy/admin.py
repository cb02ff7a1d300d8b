"""ntfy's user API, ``/v1/users*``: administrators see all users and their access, and change them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ntfyish.core.administration import Administration
from ntfyish.core.administration_rules import check_account_name
from ntfyish.core.directory import Directory
from ntfyish.core.erasing import erase
from ntfyish.core.holdings import Holdings
from ntfyish.core.ports import MessageStore
from ntfyish.model.acl import EVERYONE, parse_access
from ntfyish.model.errors import Conflict, Forbidden, Invalid, NotFound, Reason, Unauthenticated
from ntfyish.model.people import Account, Role
from ntfyish.web.http import Request, Response
from ntfyish.web.ntfy.callers import Caller, Handler, answer, filled, success
from ntfyish.web.ntfy.json_body import read_fields, typed

_ALIASES = frozenset({EVERYONE, "everyone"})


class Users:
    """The handlers of ``/v1/users*``."""

    def __init__(
        self,
        *,
        administration: Administration,
        directory: Directory,
        holdings: Holdings,
        store: MessageStore,
    ) -> None:
        self._store = store
        self._administration = administration
        self._directory = directory
        self._holdings = holdings
        self._handlers: Mapping[tuple[str, str], Handler] = {
            ("GET", "/v1/users"): self._list,
            ("POST", "/v1/users"): self._add,
            ("PUT", "/v1/users"): self._put,
            ("DELETE", "/v1/users"): self._remove,
            ("PUT", "/v1/users/access"): self._grant,
            ("POST", "/v1/users/access"): self._grant,
            ("DELETE", "/v1/users/access"): self._reset,
        }

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers `method` on `path`."""
        return self._handlers.get((method, path))

    async def _list(self, request: Request, caller: Caller) -> Response:
        caller.check_admin()
        accounts = sorted(self._directory.people.accounts, key=lambda one: (one.role.value, one.name))
        users = [(account.name, account.role, account.tier) for account in accounts]
        users.append((EVERYONE, Role.ANONYMOUS, ""))
        return answer([await self._shown(*user) for user in users])

    async def _shown(self, name: str, role: Role, tier: str) -> dict[str, Any]:
        grants = [
            {"topic": entry.pattern, "permission": entry.access.value}
            for entry in (await self._holdings.of(name)).grants
        ]
        return filled({"username": name, "role": role.value, "tier": tier, "grants": grants})

    async def _add(self, request: Request, caller: Caller) -> Response:
        caller.check_admin()
        name, password, password_hash, tier = await _read_user(request)
        if not _is_name(name) or not (password or password_hash):
            raise Invalid(Reason.REQUEST_INVALID, "username invalid, or password/password_hash missing")
        if await self._directory.fetch_account(name) is not None:
            raise Conflict(Reason.ACCOUNT_EXISTS)
        await self._administration.add_account(
            name, password=password, password_hash=password_hash, tier=tier
        )
        await self._directory.refresh()
        return success()

    async def _put(self, request: Request, caller: Caller) -> Response:
        caller.check_admin()
        name, password, password_hash, tier = await _read_user(request)
        if not _is_name(name):
            raise Invalid(Reason.REQUEST_INVALID, "username invalid")
        if not (password or password_hash or tier):
            raise Invalid(
                Reason.REQUEST_INVALID,
                'need to provide at least one of "password", "password_hash" or "tier"',
            )
        account = await self._directory.fetch_account(name)
        if account is None:
            if not (password or password_hash):
                raise Invalid(Reason.REQUEST_INVALID, "username invalid, or password/password_hash missing")
            await self._administration.add_account(
                name, password=password, password_hash=password_hash, tier=tier
            )
        else:
            await self._change(account, password, password_hash, tier)
        await self._directory.refresh()
        return success()

    async def _change(self, account: Account, password: str, password_hash: str, tier: str) -> None:
        if account.role is Role.ADMIN:
            raise Forbidden
        if tier:  # first, because it may be refused without anything having changed
            await self._administration.change_tier(account.name, tier)
        if password or password_hash:
            await self._administration.change_password(
                account.name, password=password, password_hash=password_hash
            )

    async def _remove(self, request: Request, caller: Caller) -> Response:
        caller.check_admin()
        fields = await read_fields(request)
        account = await self._directory.fetch_account(typed(fields, "username", str, ""))
        if account is None:
            raise NotFound(Reason.ACCOUNT_UNKNOWN)
        if account.role is not Role.USER:
            raise Unauthenticated(detail="can only remove regular users from API")
        reserved = (await self._holdings.of(account.name)).reservations
        await self._administration.remove_account(account.name)
        await self._directory.refresh()
        await erase(self._store, [account.user_key, *(entry.pattern for entry in reserved)])
        return success()

    async def _grant(self, request: Request, caller: Caller) -> Response:
        caller.check_admin()
        fields = await read_fields(request)
        name = await self._read_name(fields)
        pattern = typed(fields, "topic", str, "")
        access = parse_access(typed(fields, "permission", str, ""))
        await self._administration.grant_access(name, pattern, access)
        await self._directory.refresh()
        return success()

    async def _reset(self, request: Request, caller: Caller) -> Response:
        caller.check_admin()
        fields = await read_fields(request)
        name = await self._read_name(fields)
        await self._administration.reset_access(name, typed(fields, "topic", str, "") or None)
        await self._directory.refresh()
        return success()

    async def _read_name(self, fields: Mapping[str, Any]) -> str:
        """Return the account that a request is about, or `EVERYONE`."""
        name = typed(fields, "username", str, "")
        if name in _ALIASES:
            return EVERYONE
        if await self._directory.fetch_account(name) is None:
            raise NotFound(Reason.ACCOUNT_UNKNOWN)
        return name


async def _read_user(request: Request) -> tuple[str, str, str, str]:
    fields = await read_fields(request)
    name, password, password_hash, tier = (
        typed(fields, field, str, "") for field in ("username", "password", "hash", "tier")
    )
    return name, password, password_hash, tier


def _is_name(name: str) -> bool:
    try:
        check_account_name(name)
    except Invalid:
        return False
    return True
