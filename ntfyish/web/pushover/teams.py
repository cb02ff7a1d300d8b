"""Pushover's calls for teams, with a team's own token."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping

from ntfyish.core.directory import Directory
from ntfyish.core.groups import Groups
from ntfyish.core.teams import Teams
from ntfyish.model.errors import Conflict, Invalid, Reason
from ntfyish.model.passwords import find_password_fault
from ntfyish.model.people import ACCOUNT_NAME_PATTERN, Account, Group, Role
from ntfyish.model.team import TeamToken
from ntfyish.web.body import Parameters, read_parameters
from ntfyish.web.http import Handler, Request, Response
from ntfyish.web.pushover.answers import Answer, Value
from ntfyish.web.pushover.faults import Fault
from ntfyish.web.pushover.groups import GROUP_UNKNOWN
from ntfyish.web.pushover.licenses import EMAIL_INVALID
from ntfyish.web.visitor import Visitors

TEAM_TOKEN_INVALID = Fault("token", "invalid", "team token is invalid")
EMAIL_MISSING = Fault("email", "must be supplied", "email must be supplied")
ALREADY_IN_TEAM = Fault("email", "is already in this team", "user is already in this team")
NOT_IN_TEAM = Fault("email", "is not in this team", "user is not in this team")
NOT_INVITED = Fault("email", "has no open invitation", "user has no open invitation")

_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,189}")
_BODY_BYTES = 65_536

Work = Callable[[Answer, Parameters, TeamToken], Awaitable[Response]]


class TeamCalls:
    """Answers ``/1/teams``. What goes wrong is 400, whatever it is."""

    def __init__(self, teams: Teams, groups: Groups, directory: Directory, visitors: Visitors) -> None:
        self._teams = teams
        self._groups = groups
        self._directory = directory
        self._visitors = visitors
        show = self._handler(self._show)
        routes: Mapping[str, Mapping[str, Handler]] = {
            "/1/teams": {"GET": show, "HEAD": show},
            "/1/teams/add_user": {"POST": self._handler(self._add)},
            "/1/teams/remove_user": {"POST": self._handler(self._remove)},
            "/1/teams/revoke_invitation": {"POST": self._handler(self._revoke)},
        }
        self._routes = {path + end: route for path, route in routes.items() for end in (".json", ".xml")}

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return what answers each method on `path`, or None if the path is another."""
        return self._routes.get(path)

    def _handler(self, work: Work) -> Handler:
        async def handle(request: Request) -> Response:
            answer = Answer(request)
            parameters = await read_parameters(request, _BODY_BYTES)
            team = await self._teams.find(parameters.text("token").strip())
            if team is None:
                self._visitors.fail(request)
                return answer.refusal([TEAM_TOKEN_INVALID])
            return await work(answer, parameters, team)

        return handle

    async def _show(self, answer: Answer, parameters: Parameters, team: TeamToken) -> Response:
        return answer.success({"name": team.name, "users": list(map(self._user, self._teams.accounts()))})

    async def _add(self, answer: Answer, parameters: Parameters, team: TeamToken) -> Response:
        email = parameters.text("email").strip()
        if fault := self._new_email_fault(email):
            return answer.refusal([fault])
        password = parameters.text("password")
        if password and (words := find_password_fault(password)):
            return answer.refusal([Fault("password", words, f"password {words}")])
        wanted = parameters.text("group").strip()
        group = self._find_group(wanted)
        if wanted and group is None:
            return answer.refusal([GROUP_UNKNOWN])
        if group is not None and group.declared:
            raise Conflict(Reason.DECLARED)
        try:
            account = await self._teams.add(email, password=password, is_admin=parameters.flag("admin"))
        except Conflict:
            return answer.refusal([ALREADY_IN_TEAM])
        except Invalid:
            return answer.refusal([EMAIL_INVALID])
        if group is not None:
            await self._groups.add_member(group.key, account.name)
            await self._directory.refresh()
        return answer.success({})

    async def _remove(self, answer: Answer, parameters: Parameters, team: TeamToken) -> Response:
        account = self._teams.find_account(parameters.text("email").strip())
        return await self._remove_account(answer, account, None if account else NOT_IN_TEAM)

    async def _revoke(self, answer: Answer, parameters: Parameters, team: TeamToken) -> Response:
        account = self._teams.find_account(parameters.text("email").strip())
        invited = account is not None and not account.password_hash
        return await self._remove_account(answer, account, None if invited else NOT_INVITED)

    async def _remove_account(self, answer: Answer, account: Account | None, fault: Fault | None) -> Response:
        if account is None or fault is not None:
            return answer.refusal([fault or NOT_IN_TEAM])
        await self._teams.remove(account)
        return answer.success({})

    def _new_email_fault(self, email: str) -> Fault | None:
        if not email:
            return EMAIL_MISSING
        if not _EMAIL.fullmatch(email) or not ACCOUNT_NAME_PATTERN.fullmatch(email):
            return EMAIL_INVALID
        taken = any(email.casefold() == one.email.casefold() for one in self._directory.people.accounts)
        return ALREADY_IN_TEAM if taken else None

    def _find_group(self, wanted: str) -> Group | None:
        groups = self._directory.people.groups
        found = [one for one in groups if wanted and wanted in (one.key, one.name)]
        return found[0] if len(found) == 1 else None

    def _user(self, account: Account) -> Value:
        devices: list[Value] = [
            {
                "name": name,
                "os": "O",
                "os_version": "",
                "enabled": True,
                "administratively_disabled": False,
            }
            for name in self._directory.client_devices(account)
        ]
        return {
            "id": account.user_key,
            "name": account.name,
            "email": account.email,
            "administrator": account.role is Role.ADMIN,
            "devices": devices,
        }
