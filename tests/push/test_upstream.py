"""Poll requests to another server: a second ntfyish as the other one, and one that answers in every way."""

from __future__ import annotations

import asyncio
import logging
import time
from hashlib import sha256
from pathlib import Path

import pytest

from ntfyish import __version__
from ntfyish.app import running
from ntfyish.core.errands import Done, Pause
from ntfyish.core.ports import ClaimedErrand, Errand
from ntfyish.model.message import Event
from ntfyish.push.upstream import Upstream, topic_hash
from ntfyish.settings import SettingsError, load
from tests.clock import FakeClock
from tests.conftest import USER_KEY, Server, StartServer
from tests.ntfy.talking import hear, listen, tell
from tests.push.other_server import OK, OtherServer, other_server, refusal
from tests.push.stage import device, start_stage
from tests.push.test_callbacks import until

BASE = "https://push.example"
DOWN = refusal(503)


def hashed(topic: str) -> str:
    return sha256(f"{BASE}/{topic}".encode()).hexdigest()


async def started(start_server: StartServer, upstream: str, **settings: object) -> Server:
    return await start_server(base_url=BASE, upstream_base_url=upstream, **settings)


async def asked(server: Server, other: OtherServer, count: int) -> None:
    """Wait until the other server has had so many requests, and the outbox knows what became of them."""
    await until(lambda: len(other.requests) >= count, server.clock)
    await settled(server)
    assert len(other.requests) == count


async def settled(server: Server) -> None:
    """Let what is under way come to its end: network, writer, timetable."""
    for _ in range(10):
        await asyncio.sleep(0.01)
        await server.clock.advance(0)


async def test_readers_at_the_other_server_are_told_whom_to_poll(
    start_server: StartServer, tmp_path: Path
) -> None:
    other = await start_server(data_dir=tmp_path / "other")
    server = await started(start_server, other.url)
    reader = await listen(other, hashed("mytopic"))
    sent = await server.publish("mytopic", "secret text", Title="secret title", Priority="5", Tags="secret")
    heard = await hear(reader)
    del heard["time"], heard["id"]
    assert heard == {
        "event": "poll_request",
        "topic": hashed("mytopic"),
        "message": "New message",
        "poll_id": sent["id"],
    }
    assert topic_hash(BASE, "mytopic") == hashed("mytopic")


async def test_a_poll_request_says_nothing_else(start_server: StartServer) -> None:
    async with other_server(OK) as other:
        server = await started(start_server, other.url)
        sent = await server.publish("mytopic", "secret text", Title="secret title")
        await asked(server, other, 1)
        (request,) = other.requests
        assert request.line == f"POST /{hashed('mytopic')} HTTP/1.1"
        assert request.fields.pop("accept-encoding", "")
        assert request.fields == {
            "host": f"127.0.0.1:{other.port}",
            "accept": "*/*",
            "user-agent": f"ntfyish/{__version__}",
            "x-poll-id": sent["id"],
            "content-length": "0",
        }


async def test_what_is_published_in_any_way_is_told_of_but_what_needs_no_fetching(
    start_server: StartServer,
) -> None:
    silent = "uSilentSilentSilentSilentSilen"
    accounts = [
        {"name": "phil", "user-key": USER_KEY, "password": "secret"},
        {"name": "anna", "user-key": silent, "password": "secret", "stream": False},
    ]
    async with other_server(OK) as other:
        server = await started(start_server, other.url, accounts=accounts)
        told = [(await server.publish("a"))["id"], (await tell(server, "POST /", body='{"topic":"a"}'))["id"]]
        form = {"token": "azGDORePK8gMaC0QOYAMyEEuzJnyUi", "user": USER_KEY, "message": "hi"}
        async with server.http.post(f"{server.url}/1/messages.json", data=form) as response:
            assert response.status == 200
        told.append((await server.poll(USER_KEY, "auth=QmFzaWMgY0docGJEcHpaV055WlhRPQ"))[0]["id"])
        await tell(server, "POST /upAAAAAAAAAAAA?up=1", body="by UnifiedPush")
        await tell(server, "POST /a", "Content-Encoding: aes128gcm", body="by UnifiedPush")
        await tell(server, "POST /a", "X-Poll-ID: nFS3knfcQ1xe")
        await tell(server, "PUT /a/s1/clear")
        await tell(server, "DELETE /a/s1")
        await tell(server, f"POST /{silent}", "Authorization: Basic YW5uYTpzZWNyZXQ=", body="not on a stream")
        told.append((await server.publish("b"))["id"])
        await asked(server, other, 4)
        assert sorted(other.poll_ids) == sorted(told)


async def test_a_scheduled_message_is_told_of_when_it_is_delivered(start_server: StartServer) -> None:
    async with other_server(OK) as other:
        server = await started(start_server, other.url)
        sent = await server.publish("a", Delay="2h")
        await server.clock.advance(7199)
        await settled(server)
        assert other.requests == []
        await server.clock.advance(1)
        await asked(server, other, 1)
        assert other.poll_ids == [sent["id"]]


async def test_the_token_is_shown_and_lets_us_in(start_server: StartServer, tmp_path: Path) -> None:
    token = "tk_upstreamupstreamupstreamupst1"
    other = await start_server(
        data_dir=tmp_path / "other", auth_default_access="read-only", auth_tokens=[f"phil:{token}"],
        auth_access=["phil:*:rw"],
    )  # fmt: skip
    server = await started(start_server, other.url, upstream_access_token=token)
    reader = await listen(other, hashed("a"))
    sent = await server.publish("a")
    assert (await hear(reader))["poll_id"] == sent["id"]


async def test_a_wrong_token_is_an_error_in_the_log_once_a_minute_and_is_not_tried_again(
    start_server: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    token = "tk_wrongwrongwrongwrongwrongwro1"
    other = await start_server(data_dir=tmp_path / "other", clock=FakeClock())
    server = await started(start_server, other.url, upstream_access_token=token)

    def errors() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]

    for _ in range(3):
        await server.publish("a")
    await until(lambda: len(errors()) == 1, server.clock)
    await settled(server)
    await server.clock.advance(50)
    await settled(server)
    assert len(errors()) == 1
    assert "upstream-access-token" in errors()[0]
    await server.clock.advance(15)
    await server.publish("a")
    await until(lambda: len(errors()) == 2, server.clock)
    assert token not in caplog.text
    assert (await other.http.get(f"{other.url}/v1/stats")).status == 200


@pytest.mark.parametrize("status", [301, 400, 403, 404, 405, 413])
async def test_a_refusal_is_final_and_not_one_line_in_the_log_per_message(
    start_server: StartServer, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    async with other_server(refusal(status, "Location: /elsewhere")) as other:
        server = await started(start_server, other.url)
        for _ in range(20):
            await server.publish("a")
        await asked(server, other, 20)
        await server.clock.advance(7200)
        await settled(server)
        assert len(other.requests) == 20
        lines = [one for one in caplog.records if "upstream" in one.getMessage()]
        assert len(lines) == 1
        assert str(status) in lines[0].getMessage()


async def test_messages_wait_while_the_other_server_is_down(
    start_server: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with other_server(OK) as other:
        port = other.port
    server = await started(start_server, f"http://127.0.0.1:{port}")
    sent = [(await server.publish("a", str(number)))["id"] for number in range(40)]
    await server.clock.advance(600)
    await settled(server)
    assert "Poll requests wait: upstream-base-url gives no answer (connection refused)" in caplog.messages
    other_one = await start_server(data_dir=tmp_path / "other", listen_http=f"127.0.0.1:{port}")
    reader = await listen(other_one, hashed("a"))
    heard = []

    async def hear_all() -> None:
        while len(heard) < 40:
            heard.append((await hear(reader))["poll_id"])

    hearing = asyncio.ensure_future(hear_all())
    await server.clock.advance(300)
    await until(hearing.done, server.clock)
    await hearing
    assert sorted(heard) == sorted(sent)


async def test_a_restart_loses_no_poll_request(start_server: StartServer) -> None:
    async with other_server(DOWN) as other:
        server = await started(start_server, other.url)
        flags = {"listen-http": "127.0.0.1:0", "data-dir": str(server.data_dir / "second")}
        flags |= {"base-url": BASE, "upstream-base-url": other.url}
        async with running(load(flags, {}, None), server.clock) as run:
            server.url = run.url
            sent = await server.publish("a")
            await asked(server, other, 1)
        other.answers = [OK]
        later = FakeClock(server.clock.now() + 90)
        async with running(load(flags, {}, None), later):
            await until(lambda: len(other.requests) == 2, later)
        assert other.poll_ids == [sent["id"]] * 2


async def test_after_a_failure_one_request_asks_alone_and_the_others_follow_it(
    start_server: StartServer,
) -> None:
    async with other_server(DOWN) as other:
        server = await started(start_server, other.url)
        await server.publish("a")
        await asked(server, other, 1)
        for number in range(50):
            await server.publish("a", str(number))
        await settled(server)
        assert len(other.requests) == 1
        for _ in range(40):
            await server.clock.advance(1)
            await settled(server)
        assert 4 <= len(other.requests) <= 6  # after 5, 10, 20 s or up to half of that
        count = len(other.requests)
        other.answers = [OK]
        await server.clock.advance(80)
        await asked(server, other, count + 51)
        assert len(set(other.poll_ids[count:])) == 51


async def test_retry_after_is_obeyed(start_server: StartServer) -> None:
    async with other_server(refusal(429, "Retry-After: 900"), OK) as other:
        server = await started(start_server, other.url)
        await server.publish("a")
        await asked(server, other, 1)
        await server.publish("b")
        await server.clock.advance(899)
        await settled(server)
        assert len(other.requests) == 1
        await server.clock.advance(1)
        await asked(server, other, 3)


async def test_after_an_hour_a_poll_request_is_given_up(start_server: StartServer) -> None:
    async with other_server(DOWN) as other:
        server = await started(start_server, other.url)
        await server.publish("a")
        await asked(server, other, 1)
        for number in range(3):
            await server.publish("a", str(number))
        for _ in range(14):
            await server.clock.advance(300)
            await settled(server)
        other.answers = [OK]
        count = len(other.requests)
        sent = await server.publish("a")
        await server.clock.advance(300)
        await asked(server, other, count + 1)
        assert other.poll_ids[-1] == sent["id"]


async def test_a_server_that_hangs_holds_up_nothing_else(start_server: StartServer) -> None:
    async with other_server(None) as other, other_server(OK) as called:
        stage = await start_stage(
            start_server, base_url=BASE, upstream_base_url=other.url, callback_allow=["127.0.0.1"]
        )
        server = stage.server
        await stage.add(device(1, "b"))
        for number in range(100):
            began = time.monotonic()
            await server.publish("a", str(number))
            assert time.monotonic() - began < 2
        await until(lambda: other.open == 32, server.clock)
        sent = await server.publish("b", Priority="5", Retry="60", Expire="600", Callback=f"{called.url}/")
        url = next(one["url"] for one in sent.get("actions", ()) or await _buttons(server))
        async with server.http.post(url.replace(BASE, server.url)) as response:
            assert response.status == 200
        await until(lambda: len(called.requests) == 1, server.clock)
        await stage.until_states(delivered=1)
        assert other.most_open == 32


async def _buttons(server: Server) -> list[dict[str, str]]:
    (message,) = await server.poll("b")
    return list(message["actions"])


async def test_an_endless_answer_is_cut_off(start_server: StartServer) -> None:
    async with other_server(b"HTTP/1.1 200 OK\r\n\r\nENDLESS") as other:
        server = await started(start_server, other.url)
        await server.publish("a")
        await until(lambda: bool(other.requests) and not other.open, server.clock)
        assert other.flooded < 50_000_000
        await server.clock.advance(7200)
        await settled(server)
        assert len(other.requests) == 1


def claimed() -> ClaimedErrand:
    return ClaimedErrand(1, Errand("upstream", "nFS3knfcQ1xe", b'["a","nFS3knfcQ1xe"]', 0.0), 1, 0.0)


@pytest.mark.parametrize("answer", [None, b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
async def test_no_answer_is_no_answer(answer: bytes | None) -> None:
    async with other_server(answer) as other:
        made = Upstream(FakeClock(100), base_url=BASE, upstream_base_url=other.url, timeout_s=0.2)
        async with made as upstream:
            outcome = await upstream.run(claimed())
        assert isinstance(outcome, Pause)
        assert 102.5 <= outcome.until <= 105


async def test_pauses_grow_to_five_minutes_and_begin_anew_after_a_success() -> None:
    async with other_server(DOWN) as other:
        clock = FakeClock(100)
        async with Upstream(clock, base_url=BASE, upstream_base_url=other.url) as upstream:
            for longest_s in (5, 10, 20, 40, 80, 160, 300, 300):
                # What fails together counts as one.
                outcomes = {await upstream.run(claimed()) for _ in range(5)}
                (outcome,) = outcomes
                assert isinstance(outcome, Pause)
                pause_s = outcome.until - clock.now()
                assert longest_s / 2 <= pause_s <= longest_s
                await clock.advance(pause_s)
            other.answers = [OK, DOWN]
            assert await upstream.run(claimed()) == Done()
            outcome = await upstream.run(claimed())
            assert isinstance(outcome, Pause)
            assert outcome.until <= clock.now() + 5


@pytest.mark.parametrize("token", ["tk a", "tk\r\nX-Evil: 1", "tk_ä"])
def test_a_token_that_fits_no_header_is_refused_at_start(tmp_path: Path, token: str) -> None:
    flags = {"data-dir": str(tmp_path), "base-url": BASE, "upstream-base-url": "https://ntfy.example"}
    with pytest.raises(SettingsError, match="upstream-access-token"):
        load({**flags, "upstream-access-token": token}, {}, None)


async def test_we_pass_on_the_poll_requests_of_others(start_server: StartServer) -> None:
    stage = await start_stage(start_server)
    await stage.add(device(1, "a"))
    reader = await listen(stage.server, "a")
    await tell(stage.server, "POST /a", "X-Poll-ID: nFS3knfcQ1xe", body="no content")
    heard = await hear(reader)
    assert (heard["event"], heard["poll_id"]) == ("poll_request", "nFS3knfcQ1xe")
    await stage.until_states(delivered=1)
    (pushed,) = stage.sender.pushes
    assert (pushed.message.event, pushed.message.poll_id) == (Event.POLL_REQUEST, "nFS3knfcQ1xe")
    assert await stage.server.poll("a") == []
