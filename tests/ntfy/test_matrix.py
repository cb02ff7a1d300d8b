"""The Matrix push gateway, with what homeservers send and with what they should not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ntfyish.model.errors import Invalid
from ntfyish.model.topic import is_topic
from ntfyish.web.ntfy.matrix import find_topic, read_pushkey
from tests.conftest import Server, StartServer
from tests.ntfy.calling import basic
from tests.ntfy.talking import DOCS, PHIL, ask, error_of, hear, listen
from tests.push.other_server import OK, other_server
from tests.push.test_callbacks import until
from tests.wire import Answer

BASE = "https://push.example"
PATH = "/_matrix/push/v1/notify"
TOPIC = "upAbCdEfGhIjKl"
KEY = f"{BASE}/{TOPIC}?up=1"


@pytest.fixture
async def gateway(start_server: StartServer) -> Server:
    return await start_server(base_url=BASE, accounts=[PHIL])


def notification(*pushkeys: object, **more: object) -> str:
    """Return what Synapse sends, with blanks and an umlaut that must stay as they are."""
    devices = [
        {"app_id": "im.vector.app.android", "pushkey": key, "pushkey_ts": 1655896032, "data": {}}
        for key in pushkeys
    ]
    fields = {"event_id": "$x", "room_id": "!grün:example.org", "counts": {"unread": 1}, "devices": devices}
    return json.dumps({"notification": fields | more}, indent=1, ensure_ascii=False) + "\n"


async def notify(server: Server, body: bytes | str, *headers: str) -> Answer:
    return await ask(server, f"POST {PATH}", *headers, body=body)


async def accepted(server: Server, body: str, *headers: str) -> None:
    answer = await notify(server, body, *headers)
    assert (answer.status, answer.body) == (200, b'{"rejected":[]}\n'), answer
    assert answer.headers["content-type"] == "application/json"


async def rejected(server: Server, body: str, *headers: str) -> Any:
    answer = await notify(server, body, *headers)
    assert answer.status == 200, answer
    assert list(answer.json()) == ["rejected"]
    return answer.json()["rejected"]


async def test_the_gateway_says_what_it_is(gateway: Server) -> None:
    answer = await ask(gateway, f"GET {PATH}")
    assert (answer.status, answer.body) == (200, b'{"unifiedpush":{"gateway":"matrix"}}\n')
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_its_own_address_a_server_is_no_gateway(server: Server, method: str) -> None:
    answer = await ask(server, f"{method} {PATH}", body=notification(KEY) if method == "POST" else "")
    assert answer.status == 500
    assert answer.json() == {
        "code": 50003,
        "http": 500,
        "error": "internal server error: base-url must be be configured for this feature",
        "link": f"{DOCS}config/",
    }


@pytest.mark.parametrize(
    "line", [f"PUT {PATH}", f"DELETE {PATH}", f"POST {PATH}/", "POST /_matrix/push/v1", f"GET {PATH}/json"]
)
async def test_nothing_else_is_there(gateway: Server, line: str) -> None:
    assert await error_of(gateway, line) == 40401


async def test_a_notification_comes_as_it_is_to_the_topic_of_its_first_device(gateway: Server) -> None:
    reader, other = await listen(gateway, TOPIC), await listen(gateway, "other")
    body = notification(KEY, f"{BASE}/other?up=1", 7, "https://elsewhere.example/up")
    await accepted(gateway, body)
    heard = await hear(reader)
    assert heard["event"] == "message"
    assert heard["message"] == body
    assert heard.keys() == {"id", "time", "expires", "event", "topic", "message"}
    assert await gateway.poll(TOPIC) == [heard]
    assert await other.is_silent()


@pytest.mark.parametrize(
    "query", ["", "?", "?up=1", "?up=1&title=t&priority=5&email=x@example.org", "?a?b/c"]
)
async def test_the_query_of_a_push_key_says_nothing(gateway: Server, query: str) -> None:
    await accepted(gateway, notification(f"{BASE}/{TOPIC}{query}"))
    (message,) = await gateway.poll(TOPIC)
    assert message.keys() == {"id", "time", "expires", "event", "topic", "message"}


@pytest.mark.parametrize(
    "pushkey",
    [
        "x",
        "APNS-TOKEN-0123456789abcdef",
        BASE,
        f"{BASE}/",
        f"{BASE}/?up=1",
        f"{BASE}//{TOPIC}",
        f"{BASE}/{TOPIC}/json",
        f"{BASE}/{TOPIC}/",
        f"{BASE}/{TOPIC},other",
        f"{BASE}/{TOPIC}#up",
        f"{BASE}/{TOPIC}%20",
        f"{BASE}/%75pAbCdEfGhIjKl",
        f"{BASE}/../{TOPIC}",
        f"{BASE}/{TOPIC}\n",
        f"{BASE}/{TOPIC}\u0000",
        f"{BASE}/grün",
        f"{BASE}/{'u' * 65}",
        f"{BASE}:443/{TOPIC}",
        f"{BASE}.evil.example/{TOPIC}",
        f"{BASE}@evil.example/{TOPIC}",
        f"https://user:secret@push.example/{TOPIC}",
        f"http://push.example/{TOPIC}",
        f"HTTPS://PUSH.EXAMPLE/{TOPIC}",
        f" {BASE}/{TOPIC}",
        f"https://ntfy.sh/{TOPIC}?up=1",
    ],
)
async def test_a_push_key_that_is_no_address_of_a_topic_here_is_rejected(
    gateway: Server, pushkey: str
) -> None:
    assert await rejected(gateway, notification(pushkey, KEY)) == [pushkey]
    assert await gateway.poll(f"{TOPIC},json,other") == []


MALFORMED: list[bytes | str] = [
    "",
    "null",
    "5",
    '"text"',
    "[]",
    "{}",
    "no JSON",
    '{"notification":null}',
    '{"notification":[]}',
    '{"notification":"x"}',
    '{"notification":{}}',
    notification(),
    '{"notification":{"devices":null}}',
    '{"notification":{"devices":{}}}',
    '{"notification":{"devices":{"0":{"pushkey":"x"}}}}',
    '{"notification":{"devices":"text"}}',
    '{"notification":{"devices":[null]}}',
    '{"notification":{"devices":["x"]}}',
    '{"notification":{"devices":[[]]}}',
    '{"notification":{"devices":[{}]}}',
    notification(""),
    notification(None, KEY),
    notification(5),
    notification([KEY]),
    notification({"pushkey": KEY}),
    notification(KEY)[:-3],
    notification(KEY) + "{}",
    notification(KEY).encode().replace("ü".encode(), b"\xfc"),
    notification(KEY).replace("$x", "\x00"),
    '{"notification":{"devices":[{"pushkey":"\\ud800"}]}}',
    "[" * 4000,
    '{"notification":' * 200 + "1" + "}" * 200,
    b"\xef\xbb\xbf" + notification(KEY).encode(),
]


@pytest.mark.parametrize("body", MALFORMED)
async def test_what_is_no_notification_is_refused(gateway: Server, body: bytes | str) -> None:
    assert await error_of(gateway, f"POST {PATH}", body=body) == 40019
    assert await gateway.poll(TOPIC) == []


async def test_a_malformed_notification_is_refused_in_ntfys_words(gateway: Server) -> None:
    assert (await notify(gateway, "{}")).json() == {
        "code": 40019,
        "http": 400,
        "error": "invalid request: Matrix JSON invalid",
        "link": f"{DOCS}publish/#matrix-gateway",
    }


async def test_a_notification_has_as_many_bytes_as_a_message(gateway: Server) -> None:
    pad = 4096 - len(notification(KEY, content="").encode())
    await accepted(gateway, notification(KEY, content="x" * pad))
    (message,) = await gateway.poll(TOPIC)
    assert len(message["message"].encode()) == 4096
    for extra in (1, 5000, 300_000):
        answer = await notify(gateway, notification(KEY, content="x" * (pad + extra)))
        assert answer.status == 413
        assert answer.json() == {
            "code": 41302,
            "http": 413,
            "error": "Matrix request is larger than the max allowed length",
        }
    assert len(await gateway.poll(TOPIC)) == 1


async def test_who_may_not_write_to_the_topic_may_not_do_it_this_way(start_server: StartServer) -> None:
    server = await start_server(
        base_url=BASE, accounts=[PHIL], auth_default_access="read-only", auth_access=["phil:up*:rw"]
    )
    assert await error_of(server, f"POST {PATH}", body=notification(KEY)) == 40301
    assert await error_of(server, f"POST {PATH}", basic("phil", "wrong"), body=notification(KEY)) == 40101
    # Credentials within the key are nobody's.
    hidden = f"{KEY}&auth=QmFzaWMgY0docGJEcHpaV055WlhRPQ"
    assert await error_of(server, f"POST {PATH}", body=notification(hidden)) == 40301
    await accepted(server, notification(KEY), basic("phil"))


@pytest.mark.parametrize("topic", ["v1", "docs", "metrics", "settings"])
async def test_topics_that_are_not_allowed_are_not_here_either(gateway: Server, topic: str) -> None:
    assert await error_of(gateway, f"POST {PATH}", body=notification(f"{BASE}/{topic}?up=1")) == 40010


async def test_a_notification_costs_as_much_as_a_publish_and_a_malformed_one_nothing(
    start_server: StartServer,
) -> None:
    server = await start_server(
        base_url=BASE, visitor_request_limit_exempt_hosts=[], visitor_request_limit_burst=2
    )
    for _ in range(5):
        await notify(server, "{}")
        assert await rejected(server, notification("x")) == ["x"]
    for left in (1, 0):
        answer = await notify(server, notification(KEY))
        assert answer.status == 200
        assert answer.headers["ratelimit"].startswith(f'"requests";r={left};')
    assert await error_of(server, f"POST {PATH}", body=notification(KEY)) == 42901
    await server.clock.advance(5)
    await accepted(server, notification(KEY))


async def test_a_notification_is_not_pushed_elsewhere(start_server: StartServer) -> None:
    async with other_server(OK) as other:
        server = await start_server(base_url=BASE, upstream_base_url=other.url)
        await accepted(server, notification(KEY))
        sent = await server.publish("t")
        await until(lambda: bool(other.requests), server.clock)
        assert other.poll_ids == [sent["id"]]


async def test_a_key_is_rejected_when_nobody_has_subscribed_for_half_a_day(start_server: StartServer) -> None:
    server = await start_server(base_url=BASE, visitor_subscriber_rate_limiting=True)
    assert await error_of(server, f"POST {PATH}", body=notification(KEY)) == 50701
    await server.clock.leap(12 * 3600)
    assert await error_of(server, f"POST {PATH}", body=notification(KEY)) == 50701
    await server.clock.leap(1)
    assert await rejected(server, notification(KEY)) == [KEY]
    assert await error_of(server, f"POST {PATH}", body=notification(f"{BASE}/other?up=1")) == 50701
    await server.poll(TOPIC)
    await accepted(server, notification(KEY))
    await server.clock.leap(24 * 3600)
    assert await error_of(server, f"POST {PATH}", body=notification(KEY)) == 50701


async def test_notifications_are_counted(start_server: StartServer) -> None:
    server = await start_server(base_url=BASE, enable_metrics=True)
    await accepted(server, notification(KEY))
    await rejected(server, notification("x"))
    await notify(server, "{}")
    await notify(server, notification(f"{BASE}/v1"))
    lines = (await ask(server, "GET /metrics")).body.decode().splitlines()
    for name, count in (("matrix_published_success", 1), ("matrix_published_failure", 2)):
        (line,) = [line for line in lines if line.startswith(f"ntfy_{name}")]
        assert float(line.split()[1]) == count
    (line,) = [line for line in lines if line.startswith("ntfy_unifiedpush_published_success")]
    assert float(line.split()[1]) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["notification", "devices", "pushkey", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'{"notification":' * 100_000)
def test_any_body_has_a_push_key_or_is_invalid(body: bytes) -> None:
    try:
        pushkey = read_pushkey(body)
    except Invalid:
        return
    assert pushkey


@given(st.text() | st.text("/?#%.@:,upBE\n\0").map(lambda text: f"{BASE}/{text}"))
def test_any_push_key_is_a_topic_or_none(pushkey: str) -> None:
    topic = find_topic(pushkey, BASE)
    assert not topic or (is_topic(topic) and pushkey.startswith(f"{BASE}/{topic}"))
