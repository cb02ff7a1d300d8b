"""Subscriptions: the page where people let an app write to them, and Pushover's call to move user keys over.

``/subscribe/<code>?success=URL&failure=URL`` asks for the account's password each time: there are no cookies,
so nobody can be made to subscribe by a link. A wrong password shows the page again; whoever cancels goes to
the failure URL, and whoever subscribes or unsubscribes to the success URL.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from urllib.parse import quote, urlsplit, urlunsplit

from ntfyish.core.devices import Devices
from ntfyish.core.directory import Directory
from ntfyish.core.subscriptions import Subscriptions
from ntfyish.model.errors import LimitReached, Unauthenticated
from ntfyish.model.people import DEVICE_PATTERN, Account, App
from ntfyish.model.subscription import CODE_PATTERN, Subscription
from ntfyish.web.body import Parameters, read_parameters
from ntfyish.web.http import Handler, Request, Response
from ntfyish.web.pushover import faults
from ntfyish.web.pushover.calls import Call, Calls
from ntfyish.web.pushover.faults import Fault
from ntfyish.web.pushover.sounds import SOUNDS
from ntfyish.web.visitor import Visitors

CODE_INVALID = Fault("subscription", "invalid", "subscription code is invalid")
USER_NOT_VALID = Fault("user", "is not a valid user", "user key is not valid for any active user")

_PREFIX = "/subscribe/"
_MIGRATE = ("/1/subscriptions/migrate.json", "/1/subscriptions/migrate.xml")
_BODY_BYTES = 65_536
_URL_CHARS = 2048
_URL = re.compile(r"https?://[A-Za-z0-9._~:\[\]-]+(?:[/?#][^\s\\\"'<>]*)?", re.IGNORECASE)
_PLAIN_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title></head><body><h1>{title}</h1>
{body}</body></html>
"""
_FORM = """<p>{app} would like to send you notifications.{target}</p>{notice}
<form method="post">
<p><label>Account <input name="name" autocomplete="username" required value="{name}"></label></p>
<p><label>Password
<input name="password" type="password" autocomplete="current-password" required></label></p>
<p><label>One-time code, if your account needs one
<input name="twofa" autocomplete="one-time-code"></label></p>
<p><label>Device, or blank for all <input name="device" maxlength="25" value="{device}"></label></p>
<p><label>Sound <select name="sound"><option value="">usual</option>{sounds}</select></label></p>
<p><button name="choice" value="subscribe">Subscribe</button>
<button name="choice" value="unsubscribe">Unsubscribe</button>
<button name="choice" value="cancel" formnovalidate>Cancel</button></p>
</form>
"""


class SubscriptionCalls:
    """Answers ``/subscribe/...`` and ``/1/subscriptions/migrate``."""

    def __init__(
        self,
        subscriptions: Subscriptions,
        devices: Devices,
        directory: Directory,
        visitors: Visitors,
        calls: Calls,
    ) -> None:
        self._subscriptions = subscriptions
        self._devices = devices
        self._directory = directory
        self._visitors = visitors
        self._calls = calls
        self._page: Mapping[str, Handler] = {"GET": self._show, "HEAD": self._show, "POST": self._submit}
        self._migration: Mapping[str, Handler] = {"POST": calls.handler(self._migrate)}

    def match(self, path: str) -> Mapping[str, Handler] | None:
        """Return what answers each method on `path`, or None if the path is another."""
        if path in _MIGRATE:
            return self._migration
        code = path.removeprefix(_PREFIX)
        return self._page if code != path and CODE_PATTERN.fullmatch(code) else None

    async def _show(self, request: Request) -> Response | None:
        found = await self._find(request)
        if found is None:
            # What is posted there may be ntfy's: about a sequence of the topic "subscribe".
            return _page(404, "Not found", "<p>There is nothing to subscribe to here.</p>")
        if not _targets_are_valid(request):
            return _bad_target()
        return _form(request, found[1])

    async def _submit(self, request: Request) -> Response | None:
        found = await self._find(request)
        if found is None:
            return None
        if not _targets_are_valid(request):
            return _bad_target()
        subscription, app = found
        parameters = await read_parameters(request, _BODY_BYTES)
        choice = parameters.text("choice").strip() or "subscribe"
        if choice == "cancel":
            return _leave(request, "failure", "", "You have not subscribed.")
        device, sound = parameters.text("device").strip(), parameters.text("sound").strip()
        if choice not in ("subscribe", "unsubscribe"):
            return _form(request, app, 400, "Please choose one of the buttons.", parameters)
        if device and not DEVICE_PATTERN.fullmatch(device):
            return _form(request, app, 400, "This is not the name of a device.", parameters)
        try:
            account = await self._log_in(request, parameters)
        except LimitReached:
            return _form(request, app, 429, "Too many failed attempts. Please wait a while.", parameters)
        if account is None:
            return _form(request, app, 403, "Account, password or code is wrong.", parameters)
        if choice == "unsubscribe":
            await self._subscriptions.unsubscribe(subscription.code, account.name)
            await self._directory.refresh()
            return _leave(request, "success", "pushover_unsubscribed=1", "You have unsubscribed.")
        known = sound if sound in SOUNDS or sound in self._directory.sounds_of(app.account) else ""
        subscriber = await self._subscriptions.subscribe(
            subscription.code, account.name, device=device, sound=known
        )
        await self._directory.refresh()
        words = f"You have subscribed. Your key for {app.name} is {subscriber.key}."
        return _leave(request, "success", f"pushover_user_key={subscriber.key}", words)

    async def _migrate(self, call: Call) -> Response:
        subscription = await self._directory.find_subscription(call.text("subscription"))
        if subscription is None or subscription.app != call.app.token:
            self._calls.fail(call)
            return call.refuse(CODE_INVALID)
        account = await self._directory.find_by_key(call.text("user"))
        if not isinstance(account, Account):
            self._calls.fail(call)
            return call.refuse(USER_NOT_VALID)
        device = call.text("device_name")
        if device and not DEVICE_PATTERN.fullmatch(device):
            return call.refuse(faults.invalid("device_name"))
        sound = call.text("sound").lower()
        known = sound if sound in SOUNDS or sound in self._directory.sounds_of(call.app.account) else ""
        subscriber = await self._subscriptions.subscribe(
            subscription.code, account.name, device=device, sound=known
        )
        await self._directory.refresh()
        return call.answer.success({"subscribed_user_key": subscriber.key})

    async def _find(self, request: Request) -> tuple[Subscription, App] | None:
        subscription = await self._directory.find_subscription(request.path.removeprefix(_PREFIX))
        app = await self._directory.find_app(subscription.app) if subscription is not None else None
        return None if subscription is None or app is None or not app.enabled else (subscription, app)

    async def _log_in(self, request: Request, parameters: Parameters) -> Account | None:
        """Return whose password was sent; None if it is wrong, or a one-time code is missing.

        Raises:
            LimitReached: too many failures.
        """
        name = self._devices.find_login_name(parameters.text("name").strip())
        # Somebody unknown is checked as slowly as everybody else.
        credentials = f"{name or '?'}:{parameters.text('password')}".encode("utf-8", "surrogatepass")
        try:
            visitor = await self._visitors.visitor(request, f"Basic {b64encode(credentials).decode()}")
        except Unauthenticated:
            return None
        account = visitor.principal.account
        if account is not None and account.totp_secret:
            return account if self._devices.is_code(account, parameters.text("twofa").strip()) else None
        return account


def _targets_are_valid(request: Request) -> bool:
    return all(is_target(request.query.get(name, "")) for name in ("success", "failure"))


def is_target(url: str) -> bool:
    """Whether a browser may be sent to `url` ("": nowhere): over HTTP, with nothing that hides the host."""
    if not url:
        return True
    if len(url) > _URL_CHARS or not url.isprintable() or not _URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _leave(request: Request, name: str, addition: str, words: str) -> Response:
    """Send the browser to where it is wanted, or tell people what has happened."""
    url = request.query.get(name, "")
    if not url:
        return _page(200, "Thank you", f"<p>{escape(words)}</p>")
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, addition) if part)
    location = quote(urlunsplit(parts._replace(query=query)), safe=":/?#[]@!$&'()*+,;=%~")
    return Response(
        status=303,
        content_type="text/plain; charset=utf-8",
        headers=(("Location", location), *_HEADERS),
    )


def _form(
    request: Request, app: App, status: int = 200, notice: str = "", parameters: Parameters | None = None
) -> Response:
    target = request.query.get("success", "")
    host = escape(urlsplit(target).netloc)
    said = parameters or Parameters(())
    body = _FORM.format(
        app=f"<strong>{escape(app.name)}</strong>",
        target=f" Afterwards you return to {host}." if host else "",
        notice=f'\n<p role="alert">{escape(notice)}</p>' if notice else "",
        name=escape(said.text("name")),
        device=escape(said.text("device")),
        sounds="".join(f'<option value="{name}">{escape(label)}</option>' for name, label in SOUNDS.items()),
    )
    targets = (request.query.get(name, "") for name in ("success", "failure"))
    return _page(status, f"Subscribe to {app.name}", body, ("'self'", *map(_source, filter(None, targets))))


def _source(url: str) -> str:
    """Return what a security policy calls the origin of `url`: browsers apply it to redirects, too."""
    parts = urlsplit(url)
    plain = _PLAIN_HOST.fullmatch(parts.netloc) is not None
    return f"{parts.scheme.lower()}://{parts.netloc}" if plain else f"{parts.scheme.lower()}:"


def _bad_target() -> Response:
    return _page(400, "Bad address", "<p>success and failure must be addresses of web pages.</p>")


def _page(status: int, title: str, body: str, form_targets: tuple[str, ...] = ("'none'",)) -> Response:
    policy = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action " + " ".join(
        dict.fromkeys(form_targets)
    )
    return Response(
        status=status,
        body=_PAGE.format(title=escape(title), body=body).encode("utf-8", "replace"),
        content_type="text/html; charset=utf-8",
        headers=(("Content-Security-Policy", policy), *_HEADERS),
    )
