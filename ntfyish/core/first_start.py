"""The very first start: one account and one app, so that the server can be tried at once."""

from __future__ import annotations

import asyncio
import getpass
import secrets
import shlex
from dataclasses import dataclass, field

from ntfyish.core.passwords import hash_password
from ntfyish.core.ports import Add, PeopleStore
from ntfyish.model.people import ACCOUNT_NAME_PATTERN, Account, App, AppToken, Role, UserKey, new_key

FALLBACK_NAME = "me"
HELLO_TOPIC = "hello"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStart:
    """What was made; `password` is known only now."""

    account: Account
    app: App
    password: str = field(repr=False)


async def make_first(
    people: PeopleStore, *, monthly_limit: int = 10_000, created_at: int = 0
) -> FirstStart | None:
    """Make an administrator, named after whoever runs the server, and an app of theirs.

    Args:
        monthly_limit: of the app, in messages; 0 for none.
        created_at: of the account, in Unix seconds.

    Returns None, and changes nothing, if there is any account or app already.

    Raises:
        Conflict: another process did the same at the same time.
        Unavailable: as `PeopleStore`.
    """
    known = await people.load()
    if known.accounts or known.apps:
        return None
    password = secrets.token_urlsafe(12)
    account = Account(
        name=_own_name(),
        user_key=UserKey(new_key("u")),
        password_hash=await asyncio.to_thread(hash_password, password),
        role=Role.ADMIN,
        created_at=created_at,
    )
    app = App(token=AppToken(new_key("a")), name="ntfyish", account=account.name, monthly_limit=monthly_limit)
    await people.apply(Add(account), Add(app))
    return FirstStart(account=account, app=app, password=password)


def first_commands(first: FirstStart, base_url: str) -> tuple[str, str, str]:
    """Return three shell commands: subscribe, publish as with Pushover, publish as with ntfy.

    They work as they are, whatever everybody may do; the first one shows what the other two send.
    """
    login = f"{first.account.name}:{first.password}"
    inbox = first.account.user_key
    form = (
        f"token={first.app.token}",
        f"user={inbox}",
        "title=Hello",
        "message=Sent as with Pushover",
    )
    fields = [word for value in form for word in ("--form-string", value)]
    return (
        shlex.join(["curl", "-sSN", "-u", login, f"{base_url}/{inbox},{HELLO_TOPIC}/json"]),
        shlex.join(["curl", *fields, f"{base_url}/1/messages.json"]),
        shlex.join(["curl", "-u", login, "-d", "Sent as with ntfy", f"{base_url}/{HELLO_TOPIC}"]),
    )


def first_text(first: FirstStart, base_url: str) -> str:
    """Return what to tell whoever started the server for the first time. It contains the secrets."""
    subscribe, pushover, ntfy = first_commands(first, base_url)
    return "\n".join(
        (
            "This is the first start. An account and an app have been made:",
            "",
            f"  account    {first.account.name} (administrator)",
            f"  password   {first.password}",
            f"  user key   {first.account.user_key}",
            f"  app token  {first.app.token}",
            "",
            "The password is not shown again. To see messages as they come:",
            "",
            f"  {subscribe}",
            "",
            "To send one, as with Pushover and as with ntfy, in another terminal:",
            "",
            f"  {pushover}",
            f"  {ntfy}",
            "",
        )
    )


def _own_name() -> str:
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user, as in many containers
        return FALLBACK_NAME
    return name if ACCOUNT_NAME_PATTERN.fullmatch(name) else FALLBACK_NAME
