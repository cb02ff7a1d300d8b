"""Pushover's calls for delivery groups. Only apps of the account that owns a group may see or change it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from ntfyish.core.directory import Directory
from ntfyish.core.groups import ALREADY_A_MEMBER, MAX_MEMO_CHARS, MAX_NAME_CHARS, NOT_A_MEMBER, Groups
from ntfyish.model.errors import Conflict, Reason
from ntfyish.model.people import DEVICE_PATTERN, KEY_PATTERN, Account, Group, Member
from ntfyish.web.http import Handler, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.answers import Value
from ntfyish.web.pushover.calls import Call, Calls
from ntfyish.web.pushover.faults import Fault

GROUP_UNKNOWN = Fault("group", "not found", "group not found or you are not authorized to edit it")
ALREADY_MEMBER = Fault("user", "invalid", ALREADY_A_MEMBER)
NO_MEMBER = Fault("user", "invalid", NOT_A_MEMBER)
NAME_BLANK = Fault("name", "cannot be blank", "name cannot be blank")

_PATH = re.compile(r"/1/groups(?:/([^/.]+)(?:/([a-z_]+))?)?(\.(?:json|xml))?")

Work = Callable[[Call, Group], Awaitable[Response]]
MemberWork = Callable[[Call, Group, Account], Awaitable[Response]]


class GroupCalls:
    """Answers ``/1/groups`` and what is below."""

    def __init__(self, groups: Groups, directory: Directory, calls: Calls) -> None:
        self._groups = groups
        self._directory = directory
        self._calls = calls
        disable, enable = partial(self._enable, enabled=False), partial(self._enable, enabled=True)
        self._changes: Mapping[str, Work] = {
            "add_user": self._about_user(self._add_user),
            "remove_user": self._about_user(self._remove_user),
            "delete_user": self._about_user(self._remove_user),  # what it was called before
            "disable_user": self._about_user(disable),
            "enable_user": self._about_user(enable),
            "rename": self._rename,
        }

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return what answers each method on `path`, or None if the path is none of a group's."""
        if (match := _PATH.fullmatch(path)) is None:
            return None
        key, word, suffix = match.groups()
        if not suffix and (key is None or not KEY_PATTERN.fullmatch(key)):
            return None  # ntfy's: about the sequence "groups" of the topic "1"
        if key is None:
            show = self._calls.handler(self._list)
            return {"POST": self._calls.handler(self._create), "GET": show, "HEAD": show}
        if word is None:
            show = self._on_group(key, self._show)
            return {"GET": show, "HEAD": show}
        change = self._changes.get(word)
        return None if change is None else {"POST": self._on_group(key, change)}

    def _on_group(self, key: str, work: Work) -> Handler:
        async def answer(call: Call) -> Response:
            group = await self._groups.find(key, call.app.account) if KEY_PATTERN.fullmatch(key) else None
            if group is None:
                return call.refuse(GROUP_UNKNOWN)
            return await work(call, group)

        return self._calls.handler(answer)

    def _about_user(self, work: MemberWork) -> Work:
        async def answer(call: Call, group: Group) -> Response:
            account = await self._directory.find_by_key(call.text("user"))
            if not isinstance(account, Account):
                self._calls.fail(call)
                return call.refuse(faults.USER_KEY_INVALID)
            device = call.text("device")
            if device and not DEVICE_PATTERN.fullmatch(device):
                return call.refuse(faults.DEVICE_UNKNOWN)
            return await work(call, group, account)

        return answer

    async def _create(self, call: Call) -> Response:
        name = call.text("name")
        if fault := _name_fault(name):
            return call.refuse(fault)
        group = await self._groups.add(name, call.app.account)
        await self._directory.refresh()
        return call.answer.success({"group": group.key})

    async def _list(self, call: Call) -> Response:
        groups = await self._groups.owned(call.app.account)
        listed: list[Value] = [{"group": group.key, "name": group.name} for group in groups]
        return call.answer.success({"groups": listed})

    async def _show(self, call: Call, group: Group) -> Response:
        members = [self._member(member) for member in group.members]
        return call.answer.success({"name": group.name, "users": members})

    async def _rename(self, call: Call, group: Group) -> Response:
        name = call.text("name")
        if fault := _name_fault(name):
            return call.refuse(fault)
        await self._groups.rename(group.key, name)
        return await self._done(call)

    async def _add_user(self, call: Call, group: Group, account: Account) -> Response:
        memo = call.parameters.text("memo")
        if len(memo) > MAX_MEMO_CHARS:
            return call.refuse(faults.too_long("memo", MAX_MEMO_CHARS))
        try:
            await self._groups.add_member(group.key, account.name, device=call.text("device"), memo=memo)
        except Conflict as error:
            return _refuse(call, error, ALREADY_MEMBER)
        return await self._done(call)

    async def _remove_user(self, call: Call, group: Group, account: Account) -> Response:
        try:
            await self._groups.remove_member(group.key, account.name, device=call.text("device"))
        except Conflict as error:
            return _refuse(call, error, NO_MEMBER)
        return await self._done(call)

    async def _enable(self, call: Call, group: Group, account: Account, *, enabled: bool) -> Response:
        device = call.text("device")
        try:
            await self._groups.enable_member(group.key, account.name, device=device, enabled=enabled)
        except Conflict as error:
            return _refuse(call, error, NO_MEMBER)
        return await self._done(call)

    async def _done(self, call: Call) -> Response:
        await self._directory.refresh()
        return call.answer.success({})

    def _member(self, member: Member) -> Value:
        account = self._directory.find_account(member.account)
        return {
            "user": account.user_key if account is not None else "",
            "device": member.device or None,
            "memo": member.memo,
            "disabled": not member.enabled,
        }


def _name_fault(name: str) -> Fault | None:
    if not name:
        return NAME_BLANK
    if len(name) > MAX_NAME_CHARS:
        return faults.too_long("name", MAX_NAME_CHARS)
    return None if name.isprintable() else faults.invalid("name")


def _refuse(call: Call, error: Conflict, fault: Fault) -> Response:
    """Put a conflict about a member into Pushover's words; what the configuration declares is another one."""
    if error.reason is Reason.DECLARED:
        raise error
    return call.refuse(fault)
