"""What visitors may do: buckets, days, topics and subscriptions, by themselves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntfyish.core.buckets import Buckets, Rate
from ntfyish.core.limits import Limits, LimitValues, allowance
from ntfyish.core.ports import Count, Post
from ntfyish.core.topics import TopicTable
from ntfyish.model.errors import LimitReached, Reason, Unavailable
from ntfyish.model.people import ANONYMOUS, Account, Principal, Tier, UserKey
from tests.clock import FakeClock

DAY_S = 86_400
GOLD = Tier(code="gold", message_limit=40_000)
PHIL = Principal(Account(name="phil", user_key=UserKey("u" * 30)))
VERA = Principal(Account(name="vera", user_key=UserKey("v" * 30), tier="gold"))


class Counters:
    """The counters of a store in memory; fails as told."""

    def __init__(self) -> None:
        self.amounts: Counter[tuple[str, str]] = Counter()
        self.reads = 0
        self.failure: Unavailable | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self, subject: str, period: str) -> int:
        self.reads += 1
        amount = self.amounts[subject, period]
        await self.gate.wait()
        return amount

    async def write(self, posts: Sequence[Post], counts: Sequence[Count]) -> None:
        if self.failure is not None:
            raise self.failure
        for count in counts:
            self.amounts[count.subject, count.period] += count.amount


class World:
    def __init__(self, clock: FakeClock | None = None, heard: Sequence[str] = (), **values: Any) -> None:
        self.clock = clock or FakeClock()
        self.counters = Counters()
        self.limits = Limits(
            LimitValues(**values),
            self.clock,
            load=self.counters.load,
            write=self.counters.write,
            find_tier={"gold": GOLD}.get,
            is_heard=heard.__contains__,
        )

    def visitor(self, address: str = "192.0.2.7", principal: Principal = ANONYMOUS) -> Any:
        return self.limits.visitor(address, principal)


def refused(call: Any, *args: Any) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        call(*args)
    return caught.value


# Buckets

RATES = st.builds(Rate, st.integers(1, 8), st.integers(1, 50))
# (what is asked for, the microseconds that pass before it)
CALLS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 120)), max_size=60)


@given(RATES, CALLS, st.sampled_from((1, 2, 65_536)))
def test_a_bucket_gives_exactly_what_a_bucket_with_so_many_tokens_would(
    rate: Rate, calls: list[tuple[int, int]], generation: int
) -> None:
    buckets, now, level_us = Buckets(generation), 0, rate.span_us
    for amount, pause in calls:
        now += pause
        level_us = min(rate.span_us, level_us + pause)  # in the microseconds that it has taken to fill
        owed = level_us >= amount * rate.interval_us
        missing_us = buckets.take("me", rate, now, amount)
        assert (missing_us == 0) is owed
        if owed:
            level_us -= amount * rate.interval_us
        else:
            assert missing_us == amount * rate.interval_us - level_us


@given(RATES, CALLS, st.data())
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate_in_any_stretch_of_time(
    rate: Rate, calls: list[tuple[int, int]], data: st.DataObject
) -> None:
    buckets, now = Buckets(), 0
    given_at: list[int] = []
    for amount, pause in calls:
        now += pause
        key = data.draw(st.sampled_from(("me", "you")))
        if buckets.take(key, rate, now, amount) == 0 and key == "me":
            given_at += [now] * amount
    for first, begin in enumerate(given_at):
        for last, end in enumerate(given_at[first:], first):
            assert (last - first + 1) <= rate.burst + (end - begin) / rate.interval_us


@given(RATES, CALLS)
def test_what_is_given_back_can_be_taken_again(rate: Rate, calls: list[tuple[int, int]]) -> None:
    buckets, now = Buckets(), 0
    for amount, pause in calls:
        now += pause
        before = max(buckets.full_at("me"), now)
        if buckets.take("me", rate, now, amount) == 0:
            buckets.give_back("me", rate, now, amount)
        assert max(buckets.full_at("me"), now) == before


def test_a_bucket_says_how_long_it_takes() -> None:
    buckets, rate = Buckets(), Rate.of(2, 5)
    assert [buckets.take("me", rate, 0) for _ in range(3)] == [0, 0, 5_000_000]
    assert buckets.wait_us("me", rate, 1_000_000) == 4_000_000
    assert buckets.take("me", rate, 4_999_999) == 1
    assert buckets.take("me", rate, 5_000_000) == 0


def test_full_buckets_are_forgotten() -> None:
    buckets, rate = Buckets(), Rate.of(60, 5)
    for number in range(1000):
        buckets.take(str(number), rate, number)
    # the first call after a bucket's time drops what is older than two of them
    for moment in (10_000_000, 20_000_000, 30_000_000):
        buckets.take("me", rate, moment)
    assert len(buckets) <= 2


def test_a_million_visitors_take_bounded_memory_and_each_is_still_limited() -> None:
    buckets, rate = Buckets(), Rate.of(2, 3600)
    for number in range(1_000_000):
        key = f"ip:2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::"
        assert buckets.take(key, rate, number) == 0
    assert len(buckets) <= 2 * 65_536
    assert [buckets.take(key, rate, 1_000_000) for _ in range(2)] == [0, 2 * 3_600_000_000 - 3_600_000_001]


# Requests


def test_visitors_have_buckets_of_their_own() -> None:
    world = World(requests=Rate.of(2, 5))
    for _ in range(2):
        world.visitor().take_request()
    assert refused(world.visitor().take_request).reason is Reason.REQUEST_LIMIT
    assert refused(world.visitor().take_request).retry_after_s == 5
    world.visitor("192.0.2.8").take_request()
    world.visitor(principal=PHIL).take_request()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
    ],
)
def test_an_address_stands_for_its_network(one: str, other: str, same: bool) -> None:
    limits = World().limits
    assert (limits.place(one) == limits.place(other)) is same


@pytest.mark.parametrize(("bits", "same"), [(24, True), (32, False), (0, True)])
def test_the_size_of_a_network_is_configured(bits: int, same: bool) -> None:
    limits = World(ipv4_bits=bits).limits
    assert (limits.place("192.0.2.7") == limits.place("192.0.2.99")) is same


def test_an_account_is_one_visitor_wherever_it_is() -> None:
    world = World(requests=Rate.of(1, 5))
    world.visitor("192.0.2.7", PHIL).take_request()
    refused(world.visitor("2001:db8::1", PHIL).take_request)


def test_a_request_is_given_back_once() -> None:
    world = World(requests=Rate.of(1, 5))
    visitor = world.visitor()
    visitor.give_back_request()
    visitor.take_request()
    refused(world.visitor().take_request)
    visitor.give_back_request()
    world.visitor().take_request()
    visitor.give_back_request()
    refused(world.visitor().take_request)


async def test_exempt_hosts_have_no_limits_of_requests_messages_and_topics() -> None:
    world = World(
        exempt=(ip_network("192.0.2.0/24"),),
        requests=Rate.of(1, 60),
        messages_a_day=1,
        new_topics=Rate.of(1, 60),
        subscriptions=1,
    )
    visitor = world.visitor()
    for number in range(3):
        visitor.take_request()
        assert (await visitor.take_message(f"t{number}")).counts == ()
    assert visitor.status() == ""
    visitor.open_subscription()
    assert refused(visitor.open_subscription).reason is Reason.SUBSCRIPTION_LIMIT
    world.visitor("198.51.100.1").take_request()
    refused(world.visitor("198.51.100.1").take_request)


# Tiers


@pytest.mark.parametrize(
    ("messages", "burst", "interval_us"),
    [
        (0, 60, 5_000_000),
        (100, 60, 5_000_000),  # never less than everybody
        (5_000, 250, 5_000_000),
        (10_000, 500, 4_320_000),
        (40_000, 1000, 1_080_000),
        (10**12, 1000, 1),
    ],
)
def test_a_tier_gets_the_requests_that_its_messages_need(messages: int, burst: int, interval_us: int) -> None:
    allowed = allowance(LimitValues(), messages)
    assert allowed.requests == Rate(burst, interval_us)
    assert allowed.messages_a_day == (messages or 17_280)


def test_a_visitor_has_the_limits_of_its_tier() -> None:
    world = World()
    assert world.visitor(principal=PHIL).allowance.messages_a_day == 17_280
    assert world.visitor(principal=VERA).allowance.messages_a_day == 40_000


# Messages


async def test_messages_are_counted_until_midnight_utc() -> None:
    world = World(FakeClock(1_700_000_000.0), messages_a_day=2)  # 22:13:20 UTC
    visitor = world.visitor()
    for _ in range(2):
        await visitor.take_message("t")
    with pytest.raises(LimitReached) as caught:
        await visitor.take_message("t")
    assert caught.value.reason is Reason.MESSAGE_QUOTA
    assert caught.value.retry_after_s == 6400
    await world.clock.advance(6399.9)
    with pytest.raises(LimitReached):
        await visitor.take_message("t")
    await world.clock.advance(0.1)
    await visitor.take_message("t")
    assert await visitor.count_messages() == 1


async def test_what_was_committed_counts_after_a_restart() -> None:
    world = World(messages_a_day=2)
    taken = await world.visitor().take_message("t")
    assert taken.counts == (Count("visitor:ip:192.0.2.7", "2023-11-14", 1),)
    await world.counters.write((), taken.counts)
    again = World(messages_a_day=2)
    again.counters.amounts = world.counters.amounts
    await again.visitor().take_message("t")
    with pytest.raises(LimitReached):
        await again.visitor().take_message("t")
    assert again.counters.reads == 1


async def test_concurrent_messages_are_each_counted_while_the_day_is_read() -> None:
    world = World(messages_a_day=5)
    world.counters.gate.clear()
    tasks = [asyncio.create_task(world.visitor().take_message("t")) for _ in range(9)]
    await asyncio.sleep(0)
    world.counters.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(result, LimitReached) for result in results) == 4
    assert world.counters.reads == 1


async def test_a_message_that_came_to_nothing_is_given_back_with_its_new_topic() -> None:
    world = World(messages_a_day=1, new_topics=Rate.of(1, 60))
    visitor = world.visitor()
    for topic in ("a", "b", "c"):
        visitor.give_back(await visitor.take_message(topic))
    await visitor.take_message("d")
    assert world.limits.topics.find_new("abcd") == ("a", "b", "c")


async def test_a_message_beyond_the_quota_makes_no_topic() -> None:
    world = World(messages_a_day=0, requests=Rate.of(1, DAY_S))  # one message a day
    visitor = world.visitor()
    await visitor.take_message("t")
    with pytest.raises(LimitReached):
        await visitor.take_message("new")
    assert world.limits.topics.find_new(["new"]) == ("new",)


async def test_counts_of_messages_that_are_not_stored_are_written_later() -> None:
    world = World()
    visitor = world.visitor()
    for _ in range(3):
        visitor.postpone(await visitor.take_message("t"))
    world.counters.failure = Unavailable(Reason.STORAGE_BUSY)
    with pytest.raises(Unavailable):
        await world.limits.messages.flush()
    world.counters.failure = None
    await world.limits.messages.flush()
    await world.limits.messages.flush()
    assert sum(world.counters.amounts.values()) == 3


# Topics


async def test_new_topics_are_limited_and_used_ones_are_not() -> None:
    world = World(heard=["heard"], new_topics=Rate.of(2, 60))
    visitor = world.visitor()
    visitor.take_topics(("a", "b", "heard"))
    refusal = refused(visitor.take_topics, ("c",))
    assert (refusal.reason, refusal.retry_after_s) == (Reason.NEW_TOPIC_LIMIT, 60)
    visitor.take_topics(("a", "heard"))
    world.visitor("192.0.2.8").take_topics(("c",))
    visitor.take_topics(("c",))


def test_a_list_longer_than_the_burst_takes_all_of_it() -> None:
    world = World(new_topics=Rate.of(3, 60))
    world.visitor().take_topics(tuple("abcdef"))
    refused(world.visitor().take_topics, ("g",))


async def test_the_server_has_room_for_so_many_topics() -> None:
    world = World(heard=["b"], topics=2)
    visitor = world.visitor()
    visitor.take_topics(("a", "b"))
    assert refused(visitor.check_room, ("c",)).reason is Reason.TOPIC_LIMIT
    assert refused(visitor.take_topics, ("c",)).reason is Reason.TOPIC_LIMIT
    visitor.check_room(("a",))
    await world.clock.advance(16 * 3600)  # a is gone, b is still listened to
    visitor.take_topics(("c",))
    refused(visitor.check_room, ("a",))
    visitor.check_room(("b",))


def test_a_full_table_takes_no_more_in() -> None:
    table = TopicTable(2, 10, lambda topic: False)
    table.use(["a", "b", "c"], 0)
    assert len(table) == 2


# Subscriptions, sign-ups, failures


def test_a_subscription_is_released_once() -> None:
    world = World(subscriptions=2)
    first = world.visitor().open_subscription()
    world.visitor().open_subscription()
    assert refused(world.visitor().open_subscription).retry_after_s > 0
    first()
    first()
    last = world.visitor().open_subscription()
    refused(world.visitor().open_subscription)
    world.visitor("192.0.2.8").open_subscription()()
    last()
    assert world.limits.subscriptions == {"ip:192.0.2.7": 1}


def test_accounts_are_made_by_networks_whoever_is_logged_in() -> None:
    world = World(signups=Rate.of(1, DAY_S))
    world.visitor(principal=PHIL).take_signup()
    assert refused(world.visitor().take_signup).reason is Reason.SIGNUP_LIMIT
    world.visitor().give_back_signup()
    world.visitor().take_signup()


# The header


async def test_the_status_tells_what_is_left_and_when_all_of_it_is_back() -> None:
    world = World()
    visitor = world.visitor()
    assert visitor.allowance.policy == '"requests";q=60;w=300, "messages";q=17280;w=86400'
    assert visitor.status() == '"requests";r=60;t=0'
    visitor.take_request()
    await visitor.take_message("t")
    assert visitor.status() == '"requests";r=59;t=5, "messages";r=17279;t=6400'
    await world.clock.advance(4.5)
    assert world.visitor().status() == '"requests";r=59;t=1, "messages";r=17279;t=6395'
