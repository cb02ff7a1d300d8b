"""ntfy's account API, ``/v1/account*``: sign-up, and everything that people do with their own account.

Clients that listen to an account's sync topic hear of every change. Verified mail addresses, phone numbers
and billing are not offered: their paths are unknown, as they are to ntfy with those features off.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any

from ntfyish.core.access import Access
from ntfyish.core.administration import Administration
from ntfyish.core.administration_rules import check_account_name
from ntfyish.core.directory import Directory
from ntfyish.core.erasing import erase
from ntfyish.core.holdings import Holding, Holdings
from ntfyish.core.logins import Logins
from ntfyish.core.passwords import hash_access_token
from ntfyish.core.ports import Clock, MessageStore
from ntfyish.core.publisher import Publisher
from ntfyish.model.acl import BOTH, EVERYONE, Permission, parse_access
from ntfyish.model.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    NtfyishError,
    Reason,
    Unauthenticated,
)
from ntfyish.model.message import Content, Draft
from ntfyish.model.people import AccessToken, Account, Role
from ntfyish.model.topic import is_topic
from ntfyish.web.http import Request, Response
from ntfyish.web.ntfy.callers import Caller, Handler, answer, filled, find_parameter, success
from ntfyish.web.ntfy.json_body import optional, read_fields, refuse, typed
from ntfyish.web.ntfy.preferences import (
    Edit,
    adding,
    read_preferences,
    read_subscription,
    removing,
    renaming,
    settings_edit,
)
from ntfyish.web.ntfy.rules import ServiceRules, shown_limits

_log = logging.getLogger(__name__)

TOKEN_LIFE_S = 72 * 3600  # of a token for which the client names no end

_TRUE = frozenset({"1", "yes", "true"})
_RESERVATION = "/v1/account/reservation/"
_SYNC = Draft(content=Content(message='{"event":"sync"}'), cache=False)
_PURPOSES = {
    "publish": frozenset({Permission.WRITE}),
    "subscribe": frozenset({Permission.READ}),
    "publish,subscribe": BOTH,
}


class Accounts:
    """The handlers of ``/v1/account*``."""

    def __init__(
        self,
        *,
        administration: Administration,
        directory: Directory,
        holdings: Holdings,
        access: Access,
        logins: Logins,
        publisher: Publisher,
        store: MessageStore,
        clock: Clock,
        rules: ServiceRules,
    ) -> None:
        self._administration = administration
        self._directory = directory
        self._holdings = holdings
        self._access = access
        self._logins = logins
        self._publisher = publisher
        self._store = store
        self._clock = clock
        self._rules = rules
        self._handlers: Mapping[tuple[str, str], Handler] = {
            ("POST", "/v1/account"): self._sign_up,
            ("GET", "/v1/account"): self._show,
            ("DELETE", "/v1/account"): self._delete,
            ("POST", "/v1/account/password"): self._change_password,
            ("POST", "/v1/account/token"): self._add_token,
            ("PATCH", "/v1/account/token"): self._change_token,
            ("DELETE", "/v1/account/token"): self._remove_token,
            ("PATCH", "/v1/account/settings"): self._change_settings,
            ("POST", "/v1/account/subscription"): self._add_subscription,
            ("PATCH", "/v1/account/subscription"): self._change_subscription,
            ("DELETE", "/v1/account/subscription"): self._remove_subscription,
            ("POST", "/v1/account/reservation"): self._reserve,
        }

    def match(self, method: str, path: str) -> Handler | None:
        """Return what answers `method` on `path`."""
        handler = self._handlers.get((method, path))
        if handler is None and method == "DELETE" and path.startswith(_RESERVATION):
            return self._release if is_topic(path.removeprefix(_RESERVATION)) else None
        return handler

    # The account itself

    async def _sign_up(self, request: Request, caller: Caller) -> Response:
        if caller.principal.is_admin and not caller.is_limited:
            await self._add_account(request)
            return success()
        if not self._rules.enable_signup:
            raise Invalid(Reason.SIGNUP_DISABLED)
        if caller.principal.account is not None:
            raise Unauthenticated
        caller.visitor.take_signup()
        try:
            await self._add_account(request)
        except BaseException:
            caller.visitor.give_back_signup()
            raise
        return success()

    async def _add_account(self, request: Request) -> None:
        fields = await read_fields(request)
        name, password = typed(fields, "username", str, ""), typed(fields, "password", str, "")
        if self._directory.find_account(name) is not None:  # before the password is hashed
            raise Conflict(Reason.ACCOUNT_EXISTS)
        check_account_name(name)
        if not password:  # an account may be without one, but not by accident
            raise Invalid(Reason.PASSWORD_INVALID, "the password is empty")
        await self._administration.add_account(name, password=password)
        await self._directory.refresh()

    async def _show(self, request: Request, caller: Caller) -> Response:
        account = caller.principal.account
        holding = Holding() if account is None else await self._holdings.of(account.name)
        tier = self._directory.find_tier(account.tier) if account is not None and account.tier else None
        visitor, attachments = caller.visitor, caller.attachments
        emails = visitor.emails()
        limits = shown_limits(
            visitor.allowance.messages_a_day,
            self._rules,
            tier,
            emails_a_day=emails.a_day,
            files=None if attachments is None else attachments.allowed(visitor.key),
        )
        used = {
            "messages": await visitor.count_messages(),
            "emails": emails.used if self._rules.enable_emails else 0,
            "calls": 0,
            "reservations": len(holding.reservations),
            "attachment_total_size": 0 if attachments is None else attachments.used_bytes(visitor.key),
        }
        shown: dict[str, Any] = {"username": EVERYONE, "role": Role.ANONYMOUS.value}
        if account is not None:
            shown = {"username": account.name, "role": account.role.value}
            if not caller.is_limited:
                shown |= self._private(await self._with_sync_topic(account), holding)
            if tier is not None:
                shown["tier"] = {"code": tier.code, "name": tier.name}
        shown["limits"] = limits
        shown["stats"] = _stats(limits, used)
        if self._rules.enable_emails:  # of a day's e-mails only so many can be sent at once
            shown["stats"]["emails_remaining"] = emails.left
        return answer(shown)

    def _private(self, account: Account, holding: Holding) -> dict[str, Any]:
        """Return what only the account itself may see."""
        preferences = read_preferences(account.preferences)
        shown = {
            "sync_topic": account.sync_topic,
            "provisioned": account.declared,
            "language": preferences.get("language"),
            "notification": preferences.get("notification"),
            "subscriptions": preferences.get("subscriptions"),
            "tokens": [_shown_token(token, token.hint) for token in holding.tokens if self._lives(token)],
        }
        if self._rules.enable_reservations:
            shown["reservations"] = [
                {"topic": entry.pattern, "everyone": entry.access.value} for entry in holding.reservations
            ]
        if shown["notification"] == {}:
            return {**filled(shown), "notification": {}}
        return filled(shown)

    def _lives(self, token: AccessToken) -> bool:
        return not 0 < token.expires_at <= self._clock.now()

    async def _with_sync_topic(self, account: Account) -> Account:
        """Give an account a sync topic that was made without one, in the configuration maybe."""
        if account.sync_topic:
            return account
        account = await self._administration.ensure_sync_topic(account.name)
        await self._directory.refresh()
        return account

    async def _delete(self, request: Request, caller: Caller) -> Response:
        account = caller.account()
        fields = await read_fields(request)
        await self._confirm(caller, account, typed(fields, "password", str, ""))
        reserved = (await self._holdings.of(account.name)).reservations
        await self._administration.remove_account(account.name)
        # Before the directory knows, so that the account's clients still hear of it
        await self._announce(caller, account)
        await self._directory.refresh()
        # Nobody owns these any more: what is in them would be everybody's.
        await erase(self._store, [account.user_key, *(entry.pattern for entry in reserved)])
        return success()

    async def _change_password(self, request: Request, caller: Caller) -> Response:
        account = caller.account()
        fields = await read_fields(request)
        old, new = typed(fields, "password", str, ""), typed(fields, "new_password", str, "")
        if not old or not new:
            raise Invalid(Reason.REQUEST_INVALID)
        await self._confirm(caller, account, old)
        await self._administration.change_password(account.name, password=new)
        await self._directory.refresh()
        return success()

    async def _confirm(self, caller: Caller, account: Account, password: str) -> None:
        """Make sure that whoever holds a token or an open page knows the password as well."""
        credentials = f"{account.name}:{password}".encode("utf-8", "surrogateescape")
        authorization = "Basic " + base64.b64encode(credentials).decode()
        try:
            if password:
                await self._logins.authenticate(authorization, caller.address)
                return
        except Unauthenticated:
            pass
        raise Invalid(Reason.PASSWORD_WRONG)

    # Tokens

    async def _add_token(self, request: Request, caller: Caller) -> Response:
        account = caller.account()
        fields = await read_fields(request, may_be_empty=True)
        expires_at = optional(fields, "expires", int)
        token, secret = await self._administration.add_token(
            account.name,
            label=typed(fields, "label", str, ""),
            expires_at=self._later() if expires_at is None else max(0, expires_at),
            permissions=_read_permissions(fields),
            patterns=_read_patterns(fields),
            last_origin=caller.address,
        )
        await self._settle(caller, account)
        return answer(_shown_token(token, secret))

    async def _change_token(self, request: Request, caller: Caller) -> Response:
        account = caller.account()
        fields = await read_fields(request, may_be_empty=True)
        named = typed(fields, "token", str, "") or _own_hint(caller)
        label, expires_at = optional(fields, "label", str), optional(fields, "expires", int)
        if label is None and expires_at is None:
            expires_at = self._later()
        token = await self._administration.change_token(
            account.name, named, label=label, expires_at=None if expires_at is None else max(0, expires_at)
        )
        await self._settle(caller, account)
        presented = request.headers.get("authorization", "").rpartition(" ")[2]
        is_presented = hash_access_token(presented) == token.token_hash
        return answer(_shown_token(token, presented if is_presented else named))

    async def _remove_token(self, request: Request, caller: Caller) -> Response:
        account = caller.account()
        named = find_parameter(request, "x-token", "token") or _own_hint(caller)
        await self._administration.remove_token(account.name, named)
        await self._settle(caller, account)
        return success()

    def _later(self) -> int:
        return int(self._clock.now()) + TOKEN_LIFE_S

    # What clients keep here

    async def _change_settings(self, request: Request, caller: Caller) -> Response:
        account = caller.account()
        await self._edit(caller, account, settings_edit(await read_fields(request)))
        return success()

    async def _add_subscription(self, request: Request, caller: Caller) -> Response:
        account = caller.account()
        subscription = read_subscription(await read_fields(request))
        await self._edit(caller, account, adding(subscription))
        return answer(subscription)

    async def _change_subscription(self, request: Request, caller: Caller) -> Response:
        account = caller.account()
        subscription = read_subscription(await read_fields(request))
        await self._edit(caller, account, renaming(subscription))
        return answer(subscription)

    async def _remove_subscription(self, request: Request, caller: Caller) -> Response:
        account = caller.account()
        base_url = find_parameter(request, "x-baseurl", "baseurl")
        await self._edit(caller, account, removing(base_url, find_parameter(request, "x-topic", "topic")))
        return success()

    async def _edit(self, caller: Caller, account: Account, edit: Edit) -> None:
        await self._administration.edit_preferences(account.name, edit)
        await self._settle(caller, account)

    # Reservations

    async def _reserve(self, request: Request, caller: Caller) -> Response:
        self._check_reservations()
        account = caller.account()
        fields = await read_fields(request)
        topic = typed(fields, "topic", str, "")
        if not is_topic(topic):
            raise Invalid(Reason.TOPIC_INVALID)
        everyone = parse_access(typed(fields, "everyone", str, ""))
        if account.role is not Role.ADMIN and not account.tier:
            raise Unauthenticated
        await self._administration.reserve(account.name, topic, everyone)
        await self._settle(caller, account)
        return success()

    async def _release(self, request: Request, caller: Caller) -> Response:
        self._check_reservations()
        account = caller.account()
        topic = request.path.removeprefix(_RESERVATION)
        try:
            await self._administration.release(account.name, topic)
        except Forbidden:
            raise Unauthenticated from None  # as ntfy puts it
        await self._settle(caller, account)
        if find_parameter(request, "x-delete-messages", "delete-messages").lower() in _TRUE:
            await erase(self._store, [topic])
        return success()

    def _check_reservations(self) -> None:
        if not self._rules.enable_reservations:
            raise NotFound

    async def _settle(self, caller: Caller, account: Account) -> None:
        """Have what was changed hold at once, and tell the account's clients."""
        await self._directory.refresh()
        await self._announce(caller, account)

    async def _announce(self, caller: Caller, account: Account) -> None:
        if not account.sync_topic:  # nobody can listen to it yet
            return
        try:
            grant = self._access.grant(caller.principal, Permission.WRITE, (account.sync_topic,))
            await self._publisher.publish(grant, _SYNC)
        except NtfyishError as error:
            # The change itself is done; the token or account that made it may be gone with it.
            _log.debug("No sync message: %s", error.reason.name)


def _own_hint(caller: Caller) -> str:
    """Return what names the token by which the caller has logged in."""
    token = caller.principal.token
    if token is None:
        raise Invalid(Reason.TOKEN_MISSING)
    return token.hint


def _shown_token(token: AccessToken, name: str) -> dict[str, Any]:
    shown = {
        "token": name,
        "label": token.label,
        "last_access": token.last_access_at,
        "last_origin": token.last_origin,
        "expires": token.expires_at,
        "provisioned": token.declared,
    }
    if token.permissions != BOTH:
        shown["permissions"] = next(word for word, held in _PURPOSES.items() if held == token.permissions)
    return filled({**shown, "topics": list(token.patterns)})


def _read_permissions(fields: Mapping[str, Any]) -> frozenset[Permission]:
    permissions = _PURPOSES.get(typed(fields, "permissions", str, "publish,subscribe"))
    if permissions is None:
        raise Invalid(Reason.PERMISSION_INVALID)
    return permissions


def _read_patterns(fields: Mapping[str, Any]) -> tuple[str, ...]:
    patterns: list[Any] = typed(fields, "topics", list, [])
    if not all(isinstance(pattern, str) for pattern in patterns):
        refuse()
    return tuple(dict.fromkeys(patterns))


def _stats(limits: Mapping[str, Any], used: Mapping[str, int]) -> dict[str, int]:
    stats: dict[str, int] = {}
    for name, amount in used.items():
        stats[name] = amount
        stats[f"{name}_remaining"] = max(0, limits[name] - amount)
    return stats
