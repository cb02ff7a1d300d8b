"""The Pushover dialect with the real services behind it, on stores that live in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from ntfyish.core.access import Access
from ntfyish.core.address_book import AddressBook
from ntfyish.core.buckets import Rate
from ntfyish.core.deliveries import Deliveries
from ntfyish.core.directory import Directory
from ntfyish.core.limits import Limits, LimitValues
from ntfyish.core.logins import Logins
from ntfyish.core.ports import Count, People, Post, StoreExtra
from ntfyish.core.publisher import Publisher
from ntfyish.core.quota import Quotas
from ntfyish.model.acl import TopicAccess
from ntfyish.model.errors import NtfyishError
from ntfyish.model.message import Message
from ntfyish.model.people import Account, App, AppToken, Flavour, Group, Member, TopicKey, UserKey
from ntfyish.web.http import BufferedBody, Request, Response
from ntfyish.web.pushover.dialect import PushoverDialect, Service
from ntfyish.web.pushover.limits import CURRENT, PushoverLimits
from ntfyish.web.visitor import Visitors
from tests.clock import FakeClock

TOKEN = "azGDORePK8gMaC0QOYAMyEEuzJnyUi"
NZB_TOKEN = "aNzbNzbNzbNzbNzbNzbNzbNzbNzb00"
OFF_TOKEN = "aOffOffOffOffOffOffOffOffOff00"
SMALL_TOKEN = "aSmallSmallSmallSmallSmall0000"
FREE_TOKEN = "aFreeFreeFreeFreeFreeFreeFree0"
PHIL = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
VERA = "uVeraVeraVeraVeraVeraVeraVera0"
MUTE = "uMuteMuteMuteMuteMuteMuteMute0"
ALERTS_KEY = "tAlertsAlertsAlertsAlertsAlert"
ALL_KEY = "gAllAllAllAllAllAllAllAllAllAl"
VERAS_KEY = "gVeraVeraVeraVeraVeraVeraVera0"
ASLEEP_KEY = "gAsleepAsleepAsleepAsleepAslee"
EMPTY_KEY = "gEmptyEmptyEmptyEmptyEmptyEmpt"
NOBODY = "uNobodyNobodyNobodyNobodyNobod"
FORM = "application/x-www-form-urlencoded"
FEW_LIMITS = LimitValues(auth_failures=Rate.of(10_000, 1))


class MemoryPeople:
    """Serves one snapshot for ever."""

    def __init__(self, people: People) -> None:
        self.people = people

    async def load(self) -> People:
        return self.people

    async def changed(self) -> bool:
        return False


class MemoryMessages:
    """Keeps messages and counters; fails as told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.counters: Counter[tuple[str, str]] = Counter()
        self.failure: NtfyishError | None = None
        self.before_post: Callable[[], Awaitable[None]] | None = None

    async def post(
        self, posts: Sequence[Post], counts: Sequence[Count] = (), extras: Sequence[StoreExtra] = ()
    ) -> None:
        if self.before_post is not None:
            await self.before_post()
        if self.failure is not None:
            raise self.failure
        self.messages += [post.message for post in posts]
        for count in counts:
            self.counters[count.subject, count.period] += count.amount

    async def counter(self, subject: str, period: str) -> int:
        return self.counters[subject, period]


class MemoryBus:
    def announce(self, published: Sequence[Any]) -> None:
        """Nobody listens."""


def people() -> People:
    def app(token: str, name: str, limit: int = 10_000, **rest: Any) -> App:
        return App(token=AppToken(token), name=name, account="phil", monthly_limit=limit, **rest)

    return People(
        accounts=(
            Account(name="phil", user_key=UserKey(PHIL), devices=("droid2", "iphone")),
            Account(name="vera", user_key=UserKey(VERA)),
            Account(name="mute", user_key=UserKey(MUTE), stream=False),
        ),
        apps=(
            app(TOKEN, "Backups"),
            app(NZB_TOKEN, "NZB", flavour=Flavour.NZBCLIENT),
            app(OFF_TOKEN, "Off", enabled=False),
            app(SMALL_TOKEN, "Small", 3),
            app(FREE_TOKEN, "Free", 0),
        ),
        keys=(TopicKey(key=ALERTS_KEY, topic="alerts"),),
        groups=(
            Group(
                key=ALL_KEY,
                name="all",
                account="phil",
                members=(
                    Member(account="phil"),
                    Member(account="vera"),
                    Member(account="mute"),
                    Member(account="vera", device="pad"),
                ),
            ),
            Group(
                key=VERAS_KEY,
                name="veras",
                account="vera",
                members=(Member(account="phil", enabled=False), Member(account="vera")),
            ),
            Group(
                key=ASLEEP_KEY,
                name="asleep",
                account="phil",
                members=(Member(account="vera", enabled=False), Member(account="mute")),
            ),
            Group(key=EMPTY_KEY, name="empty", account="phil"),
        ),
    )


class World:
    """A dialect to ask, and what it made of it."""

    def __init__(
        self,
        limits: PushoverLimits = CURRENT,
        default: TopicAccess = TopicAccess.READ_WRITE,
        visitor_limits: LimitValues = FEW_LIMITS,
        store: Any = None,
    ) -> None:
        self.clock = FakeClock(1_393_000_000.0)
        self.store = MemoryMessages()
        directory = Directory(store or MemoryPeople(people()), self.clock)
        self.directory = directory
        self.access = Access(directory, self.clock, default)
        self.quotas = Quotas(self.clock, ZoneInfo("America/Chicago"), self.store.counter)
        self.visitor_limits = Limits(
            visitor_limits, self.clock, load=self.store.counter, write=self.store.post
        )
        self.visitors = Visitors(self.visitor_limits, Logins(self.access, self.visitor_limits, self.clock))
        self.publisher = Publisher(
            self.store,  # type: ignore[arg-type]
            MemoryBus(),
            self.clock,
            cache_duration_s=43_200,
            due=lambda due_at: None,
            deliveries=Deliveries(directory),
        )
        self.address_book = AddressBook(directory, self.access)
        self.dialect = PushoverDialect(
            directory=self.address_book,
            access=self.access,
            visitors=self.visitors,
            publisher=self.publisher,
            services=self.services(),
            quotas=self.quotas,
            limits=limits,
        )

    def services(self) -> Sequence[Service]:
        """Return what else is to be asked."""
        return ()

    async def ask(
        self, line: str, body: bytes | dict[str, str] = b"", content_type: str = FORM
    ) -> Response | None:
        """Ask as the router does; None if the dialect declines."""
        method, _, target = line.partition(" ")
        data = urlencode(body).encode() if isinstance(body, dict) else body
        headers = {"content-type": content_type} if content_type else {}
        request = Request(method, target, headers, "127.0.0.1", BufferedBody(data))
        handler = self.dialect.match(method, request.path)
        if handler is None:
            return None
        try:
            answer = await handler(request)
        except NtfyishError as error:
            return self.dialect.refuse(request, error)
        assert answer is None or isinstance(answer, Response)
        return answer

    async def send(self, **fields: str) -> Response:
        """Post a message from the app Backups to phil, unless `fields` say otherwise."""
        parameters = {"token": TOKEN, "user": PHIL, "message": "hi"} | fields
        response = await self.ask("POST /1/messages.json", parameters)
        assert response is not None
        return response

    @property
    def message(self) -> Message:
        """The only message there is."""
        (message,) = self.store.messages
        return message


def body_of(response: Response) -> dict[str, Any]:
    """The JSON body in order, without `request`, which must be the header's."""
    fields: dict[str, Any] = json.loads(response.body)
    assert fields.pop("request") == header(response, "X-Request-Id")
    return fields


def header(response: Response, name: str) -> str:
    (value,) = [value for field, value in response.headers if field == name]
    return value
