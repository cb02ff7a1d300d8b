"""How much each visitor may do: requests, messages a day, open subscriptions, new topics, failed logins.

`Limits` keeps the numbers, `Visitor` is one request's view of them. A visitor is an account, or the network
that an address belongs to. The dialects take from a limit before they do a thing, in ntfy's order, and give
back what came to nothing. Nothing is kept of a visitor that has all of its limits back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from ntfyish.core.buckets import Buckets, Rate
from ntfyish.core.daily_counts import BYTES_PREFIX, DAY_S, DailyCounts, Load, Write
from ntfyish.core.ports import Clock, Count
from ntfyish.core.topics import TopicTable
from ntfyish.model.errors import LimitReached, Reason
from ntfyish.model.people import Principal, Tier

Network = IPv4Network | IPv6Network

# Of a tier's daily messages, this share may come at once, but not more than that.
_TIER_BURST_SHARE = 0.05
_TIER_BURST_MOST = 1000
_TIER_EMAIL_BURST_SHARE = 0.2
_TIER_EMAIL_BURST_MOST = 150
# A subscription ends when its reader leaves, a topic when nobody uses it: there is no telling when.
_SUBSCRIPTION_RETRY_S = 10
_TOPIC_RETRY_S = 60
_REMEMBERED_ADDRESSES = 8192
_ACCOUNT_PREFIX = "user:"


_REQUESTS = Rate(60, 5_000_000)
_AUTH_FAILURES = Rate(30, 60_000_000)
_SIGNUPS = Rate(3, DAY_S * 1_000_000)
_NEW_TOPICS = Rate(100, 60_000_000)
_EMAILS = Rate(16, 3_600_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitValues:
    """The limits as configured.

    Attributes:
        messages_a_day: 0 for as many as the request rate allows.
        subscriptions: open streams (and polls, while they run) of one visitor.
        topics: topics of the whole server.
        topic_idle_s: how long an unused topic exists.
        exempt: networks without limits of requests, messages and new topics.
        ipv4_bits, ipv6_bits: how much of an address tells visitors apart.
    """

    requests: Rate = _REQUESTS
    messages_a_day: int = 0
    subscriptions: int = 30
    auth_failures: Rate = _AUTH_FAILURES
    signups: Rate = _SIGNUPS
    new_topics: Rate = _NEW_TOPICS
    emails: Rate = _EMAILS
    topics: int = 15_000
    topic_idle_s: float = 16 * 3600.0
    exempt: tuple[Network, ...] = ()
    ipv4_bits: int = 32
    ipv6_bits: int = 64


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a visitor of some kind may do.

    Attributes:
        policy: the same for the `RateLimit-Policy` header field.
    """

    requests: Rate
    messages_a_day: int
    policy: str


@dataclass(slots=True)
class Taken:
    """What a message has cost.

    Attributes:
        counts: what is to be committed with it: the day's count.
        new_topics: its topic, if that is new.
    """

    counts: tuple[Count, ...]
    new_topics: tuple[str, ...]


def account_key(name: str) -> str:
    """Return the key of the visitor that an account is, wherever it comes from."""
    return f"{_ACCOUNT_PREFIX}{name}"


def account_of(key: str) -> str:
    """Return the name of the account that a visitor's key is of; "" if it is a network's."""
    return key.removeprefix(_ACCOUNT_PREFIX) if key.startswith(_ACCOUNT_PREFIX) else ""


def allowance(values: LimitValues, messages_a_day: int = 0) -> Allowance:
    """Return the allowance of a tier of so many messages a day; 0 for the server's own.

    A tier's requests are as many as its messages need: a twentieth at once (but not more than 1000), and
    twice as many a day; never fewer than everybody's.
    """
    requests = values.requests
    if messages_a_day:
        burst = max(requests.burst, min(_TIER_BURST_MOST, int(messages_a_day * _TIER_BURST_SHARE)))
        interval_us = min(requests.interval_us, DAY_S * 1_000_000 // (2 * messages_a_day))
        requests = Rate(burst, max(1, interval_us))
    messages = messages_a_day or values.messages_a_day or DAY_S * 1_000_000 // requests.interval_us
    policy = f'"requests";q={requests.burst};w={requests.window_s}, "messages";q={messages};w={DAY_S}'
    return Allowance(requests, messages, policy)


def email_rate(values: LimitValues, tier: Tier | None = None) -> Rate:
    """Return how many e-mails may be sent in a tier: a fifth of a day's at once.

    It is never fewer at once than everybody may send.
    """
    own = values.emails
    if tier is None or not tier.email_limit:
        return own
    burst = max(own.burst, min(_TIER_EMAIL_BURST_MOST, int(tier.email_limit * _TIER_EMAIL_BURST_SHARE)))
    return Rate(burst, max(1, DAY_S * 1_000_000 // tier.email_limit))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmailAllowance:
    """Somebody's e-mails.

    Attributes:
        a_day: how many there can be.
        used: how many count against it now; each is forgotten after some time.
        left: how many can be sent at once.
    """

    a_day: int
    used: int
    left: int


class Limits:
    """The limits of a server, and what has been used of them.

    Memory is bounded whatever comes: each kind of bucket and the daily counters keep at most two
    generations of 65,536 numbers (see `buckets`), topics are at most `topics`, subscriptions are as many
    as there are connections.

    Args:
        load, write: the counters of the message store (`MessageStore.counter`, `MessageStore.post`).
        find_tier: returns the tier of a code.
        is_heard: whether somebody listens to a topic.
    """

    def __init__(
        self,
        values: LimitValues,
        clock: Clock,
        *,
        load: Load,
        write: Write,
        find_tier: Callable[[str], Tier | None] = lambda code: None,
        is_heard: Callable[[str], bool] = lambda topic: False,
    ) -> None:
        self.values = values
        self.requests = Buckets()
        self.signups = Buckets()
        self.new_topics = Buckets()
        self.emails = Buckets()
        self.auth_failures = Buckets()
        self.messages = DailyCounts(clock, load, write)
        self.bandwidth = DailyCounts(clock, load, write, prefix=BYTES_PREFIX)
        self.topics = TopicTable(values.topics, values.topic_idle_s, is_heard)
        self.subscriptions: dict[str, int] = {}
        self.monotonic = clock.monotonic
        self._find_tier = find_tier
        self._own = allowance(values)
        self._tiers: dict[int, Allowance] = {}
        self._places: dict[str, tuple[str, bool]] = {}

    def count_visitors(self) -> int:
        """Return how many have made requests lately that count, or have open subscriptions."""
        return len(self.requests.keys() | self.subscriptions.keys())

    def now_us(self) -> int:
        """Return the microseconds by which buckets fill."""
        return int(self.monotonic() * 1e6 + 0.5)

    def visitor(self, address: str, principal: Principal) -> Visitor:
        """Return who comes from `address` (canonical, see `web.visitor`) as `principal`."""
        place, exempt = self._places.get(address) or self._locate(address)
        account = principal.account
        if account is None:
            return Visitor(self, principal, place, place, exempt, self._own)
        tier = self._find_tier(account.tier) if account.tier else None
        allowed = self._own if tier is None else self._of_tier(tier)
        return Visitor(self, principal, account_key(account.name), place, exempt, allowed)

    def place(self, address: str) -> str:
        """Return the key of the network that `address` belongs to."""
        return (self._places.get(address) or self._locate(address))[0]

    def take_auth_failure(self, place: str) -> None:
        """Count a failed login from `place`.

        Raises:
            LimitReached: AUTH_FAILURE_LIMIT if there have been too many.
        """
        rate = self.values.auth_failures
        if missing_us := self.auth_failures.take(place, rate, self.now_us()):
            raise LimitReached(Reason.AUTH_FAILURE_LIMIT, retry_after_s=missing_us / 1e6)

    def email_rate(self, tier_code: str) -> Rate:
        """Return how many e-mails an account of that tier ("" for none) may send."""
        return email_rate(self.values, self._find_tier(tier_code) if tier_code else None)

    def use_topics(self, topics: Iterable[str]) -> None:
        """Note that `topics` are in use."""
        self.topics.use(topics, self.monotonic())

    def _of_tier(self, tier: Tier) -> Allowance:
        messages = tier.message_limit
        found = self._tiers.get(messages)
        if found is None:
            found = self._tiers[messages] = allowance(self.values, messages)
        return found

    def _locate(self, address: str) -> tuple[str, bool]:
        """Return the key of the address's network, and whether it is exempt."""
        parsed = ip_address(address)
        bits = self.values.ipv4_bits if parsed.version == 4 else self.values.ipv6_bits
        network = ip_network((parsed, bits), strict=False)
        exempt = any(parsed.version == one.version and parsed in one for one in self.values.exempt)
        if len(self._places) >= _REMEMBERED_ADDRESSES:
            self._places.clear()
        found = self._places[address] = (f"ip:{network.network_address}", exempt)
        return found


class Visitor:
    """One request's view of what its sender may do; made for the request and not kept.

    Attributes:
        principal: who it is.
        key: of the account or the network.
        place: key of the network.
        allowance: what it may do.
    """

    __slots__ = (
        "_exempt",
        "_left_s",
        "_limits",
        "_now_us",
        "_requests",
        "allowance",
        "key",
        "place",
        "principal",
    )

    def __init__(
        self,
        limits: Limits,
        principal: Principal,
        key: str,
        place: str,
        exempt: bool,
        allowance: Allowance,
    ) -> None:
        self._limits = limits
        self._exempt = exempt
        self._requests = 0
        self._now_us = limits.now_us()
        self._left_s = 0.0  # of the day, when a message was counted
        self.principal = principal
        self.key = key
        self.place = place
        self.allowance = allowance

    @property
    def is_exempt(self) -> bool:
        """Whether there are no limits of requests, messages and new topics."""
        return self._exempt

    def take_request(self) -> None:
        """Count a request.

        Raises:
            LimitReached: REQUEST_LIMIT.
        """
        if self._exempt:
            return
        limits = self._limits
        self._now_us = now_us = limits.now_us()
        if missing_us := limits.requests.take(self.key, self.allowance.requests, now_us):
            raise LimitReached(Reason.REQUEST_LIMIT, retry_after_s=missing_us / 1e6)
        self._requests = 1

    def give_back_request(self) -> None:
        """Undo `take_request`, if there was one: the server could not do its part."""
        if self._requests:
            self._requests = 0
            self._limits.requests.give_back(self.key, self.allowance.requests, self._limits.now_us())

    def check_room(self, topics: Iterable[str]) -> None:
        """See whether the server has room for `topics`, as far as they are new.

        Raises:
            LimitReached: TOPIC_LIMIT.
        """
        limits = self._limits
        new = limits.topics.find_new(topics)
        if new and not limits.topics.has_room(len(new), limits.monotonic()):
            raise LimitReached(Reason.TOPIC_LIMIT, retry_after_s=_TOPIC_RETRY_S)

    def take_topics(self, topics: tuple[str, ...]) -> tuple[str, ...]:
        """Use `topics`, to which the visitor has access, and return those that are new.

        One request costs at most a full bucket, so that a list longer than that is not refused for ever.

        Raises:
            LimitReached: NEW_TOPIC_LIMIT, TOPIC_LIMIT.
        """
        limits = self._limits
        new = limits.topics.find_new(topics)
        if new:
            self.check_room(new)
            self._take_new_topics(len(new))
        limits.topics.use(topics, self._now_us / 1e6)
        return new

    def _take_new_topics(self, count: int) -> None:
        if self._exempt:
            return
        limits = self._limits
        rate = limits.values.new_topics
        if missing_us := limits.new_topics.take(
            self.key, rate, limits.now_us(), max(1, min(count, rate.burst))
        ):
            raise LimitReached(Reason.NEW_TOPIC_LIMIT, retry_after_s=missing_us / 1e6)

    def give_back_topics(self, new: tuple[str, ...]) -> None:
        """Undo `take_topics`, of what it returned: the topics have not been used."""
        if not new:
            return
        limits = self._limits
        limits.topics.forget(new)
        if not self._exempt:
            rate = limits.values.new_topics
            limits.new_topics.give_back(self.key, rate, limits.now_us(), max(1, min(len(new), rate.burst)))

    async def take_message(self, topic: str) -> Taken:
        """Count a message to `topic`, to which the visitor has access.

        Raises:
            LimitReached: NEW_TOPIC_LIMIT, TOPIC_LIMIT, MESSAGE_QUOTA; nothing is counted then.
            Unavailable: the day's count cannot be read.
        """
        messages = self._limits.messages
        if self._exempt:
            return Taken((), self.take_topics((topic,)))
        self._left_s = messages.left_s()
        while (tally := messages.find(self.key)) is None:
            await messages.fetch(self.key)
            self._left_s = messages.left_s()
        new = self.take_topics((topic,))
        if tally.used >= self.allowance.messages_a_day:
            self.give_back_topics(new)
            raise LimitReached(Reason.MESSAGE_QUOTA, retry_after_s=self._left_s)
        tally.used += 1
        return Taken((tally.one,), new)

    def give_back(self, taken: Taken) -> None:
        """Undo `take_message`: nothing was published. (After a cancelled publish that is not certain.)"""
        for count in taken.counts:
            self._limits.messages.give_back(count)
        self.give_back_topics(taken.new_topics)

    def postpone(self, taken: Taken) -> None:
        """Have the count of a message that is not stored written later."""
        for count in taken.counts:
            self._limits.messages.postpone(count)

    def open_subscription(self) -> Callable[[], None]:
        """Count an open subscription; call what this returns when it has ended (more than once does no harm).

        Raises:
            LimitReached: SUBSCRIPTION_LIMIT.
        """
        open_now = self._limits.subscriptions
        count = open_now.get(self.key, 0)
        if count >= self._limits.values.subscriptions:
            raise LimitReached(Reason.SUBSCRIPTION_LIMIT, retry_after_s=_SUBSCRIPTION_RETRY_S)
        open_now[self.key] = count + 1
        return _Release(open_now, self.key)

    def take_email(self) -> None:
        """Count an e-mail that is sent for the visitor.

        Raises:
            LimitReached: EMAIL_LIMIT.
        """
        limits = self._limits
        if missing_us := limits.emails.take(self.key, self._email_rate(), limits.now_us()):
            raise LimitReached(Reason.EMAIL_LIMIT, retry_after_s=missing_us / 1e6)

    def give_back_email(self) -> None:
        """Undo `take_email`: nothing was published."""
        self._limits.emails.give_back(self.key, self._email_rate(), self._limits.now_us())

    def emails(self) -> EmailAllowance:
        """Return what there is for the visitor's e-mails."""
        limits, rate = self._limits, self._email_rate()
        used = -(-max(0, limits.emails.full_at(self.key) - limits.now_us()) // rate.interval_us)
        return EmailAllowance(a_day=rate.a_day, used=used, left=max(0, rate.burst - used))

    def _email_rate(self) -> Rate:
        account = self.principal.account
        return self._limits.email_rate(account.tier if account is not None else "")

    def take_signup(self) -> None:
        """Count a new account, whoever the visitor is logged in as.

        Raises:
            LimitReached: SIGNUP_LIMIT.
        """
        limits = self._limits
        if missing_us := limits.signups.take(self.place, limits.values.signups, limits.now_us()):
            raise LimitReached(Reason.SIGNUP_LIMIT, retry_after_s=missing_us / 1e6)

    def give_back_signup(self) -> None:
        """Undo `take_signup`: no account was made."""
        self._limits.signups.give_back(self.place, self._limits.values.signups, self._limits.now_us())

    async def count_messages(self) -> int:
        """Return how many messages the visitor has sent today.

        Raises:
            Unavailable: the count cannot be read.
        """
        return (await self._limits.messages.fetch(self.key)).used

    def status(self) -> str:
        """Return the `RateLimit` header field: what is left, and in how many seconds all of it is back.

        "" for exempt visitors. The day's messages are left out as long as they have not been fetched.
        """
        if self._exempt:
            return ""
        limits, allowed = self._limits, self.allowance
        rate = allowed.requests
        owed_us = limits.requests.full_at(self.key) - self._now_us
        if owed_us <= 0:
            text = f'"requests";r={rate.burst};t=0'
        else:
            left = (rate.span_us - owed_us) // rate.interval_us
            text = f'"requests";r={left};t={-(-owed_us // 1_000_000)}'
        left_s = self._left_s or limits.messages.left_s()
        tally = limits.messages.find(self.key)
        if tally is None:
            return text
        left = allowed.messages_a_day - tally.used
        return f'{text}, "messages";r={left if left > 0 else 0};t={int(left_s)}'


class _Release:
    """Ends one subscription, once."""

    __slots__ = ("_key", "_open_now")

    def __init__(self, open_now: dict[str, int], key: str) -> None:
        self._open_now: dict[str, int] | None = open_now
        self._key = key

    def __call__(self) -> None:
        open_now, self._open_now = self._open_now, None
        if open_now is None:
            return
        left = open_now[self._key] - 1
        if left:
            open_now[self._key] = left
        else:
            del open_now[self._key]
