"""`/metrics`: what a scraper reads of a real server, and what it must never read."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import smtplib
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ntfyish.app import running
from ntfyish.settings import load
from ntfyish.web.metric_rows import ROWS, Kind
from tests.conftest import APP_TOKEN, TOPIC_KEY, USER_KEY, Server, StartServer
from tests.mail.test_outgoing import Sink, settings, sink
from tests.pushover.test_receipts import ask, press, send, sent
from tests.wire import open_wire

ROOT = Path(__file__).parents[2]
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
__all__ = ["sink"]  # a fixture

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "OTHER"}


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header fields of a login."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


async def scrape(server: Server, later_s: float = 1) -> str:
    """Return what a scrape says; a second later the figures of the store are read anew."""
    await server.clock.advance(later_s)
    async with server.http.get(server.running.metrics_url) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == TEXT
        return await response.text()


async def figures(server: Server, later_s: float = 1) -> dict[str, float]:
    """Return name and labels, as they are written -> value."""
    text = await scrape(server, later_s)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


async def until(server: Server, name: str, value: float) -> None:
    tries = 0
    async with asyncio.timeout(10):
        # A timetable that was about to sleep when the clock was moved has overslept by that much.
        while (await figures(server, 0 if tries % 20 else 0.25)).get(name) != value:
            tries += 1


async def status(server: Server, method: str, url: str, **more: Any) -> int:
    async with server.http.request(method, url, **more) as response:
        await response.read()
        return response.status


def answers(found: dict[str, float]) -> dict[tuple[str, str, str], float]:
    """Return (status, code, method) -> answers."""
    pattern = re.compile(
        r'ntfy_http_requests_total\{http_code="(.*)",http_method="(.*)",ntfy_code="(.*)"\}', re.DOTALL
    )
    matches = ((pattern.fullmatch(name), value) for name, value in found.items())
    return {(match[1], match[3], match[2]): value for match, value in matches if match}


@pytest.fixture
async def measured(start_server: StartServer) -> Server:
    return await start_server(enable_metrics=True)


# Where they are


async def test_there_are_no_figures_unless_a_setting_asks_for_them(server: Server) -> None:
    assert server.running.metrics_url == ""
    async with server.http.get(f"{server.url}/metrics") as response:
        assert (response.status, (await response.json())["code"]) == (404, 40401)
    assert await status(server, "HEAD", f"{server.url}/metrics") == 404


async def test_they_take_no_topic_away_and_give_none(server: Server, start_server: StartServer) -> None:
    second = await start_server(enable_metrics=True, data_dir=server.data_dir / "second")
    for one in (server, second):
        async with one.http.post(f"{one.url}/metrics", data=b"x") as response:
            assert (response.status, (await response.json())["code"]) == (400, 40010)
        await one.publish("metrics2")


async def test_the_figures_are_on_the_servers_own_address_if_asked_for(measured: Server) -> None:
    assert measured.running.metrics_url == f"{measured.url}/metrics"
    text = await scrape(measured)
    assert "\nntfy_messages_published_success 0.0\n" in text
    async with measured.http.head(measured.running.metrics_url) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, TEXT)
        assert int(response.headers["Content-Length"]) > 5000
        assert await response.read() == b""


async def test_wrong_credentials_are_refused_there_too_and_requests_are_limited(
    start_server: StartServer,
) -> None:
    server = await start_server(
        enable_metrics=True, visitor_request_limit_burst=3, visitor_request_limit_exempt_hosts=[]
    )
    wrong = basic("phil", "wrong")
    assert await status(server, "GET", server.running.metrics_url, headers=wrong) == 401
    got = [await status(server, "GET", server.running.metrics_url) for _ in range(4)]
    assert got == [200, 200, 200, 429]


async def test_on_an_address_of_their_own_there_is_nothing_else(start_server: StartServer) -> None:
    server = await start_server(metrics_listen_http="127.0.0.1:0")
    own = server.running.metrics_url.removesuffix("/metrics")
    assert own != server.url
    assert await status(server, "GET", f"{own}/metrics?a=b") == 200
    assert await status(server, "HEAD", f"{own}/metrics") == 200
    for method, path in [
        ("POST", "/metrics"),
        ("GET", "/"),
        ("GET", "/metrics/"),
        ("GET", "/t/json?poll=1"),
        ("POST", "/t"),
        ("POST", "/1/messages.json"),
        ("GET", "/v1/health"),
        ("OPTIONS", "/metrics"),
        ("PROPFIND", "/metrics"),
    ]:
        assert await status(server, method, own + path, data=b"x" if method == "POST" else None) == 404, path
    assert await status(server, "GET", f"{server.url}/metrics") == 404
    assert await server.poll("t", "since=all") == []
    found = answers(await figures(server))
    # Those of the main address alone
    assert found[("404", "40401", "GET")] == 1
    assert found[("200", "20000", "GET")] == 1


async def test_the_own_address_survives_what_is_no_http(start_server: StartServer) -> None:
    server = await start_server(metrics_listen_http="127.0.0.1:0", header_timeout="10s")
    port = int(server.running.metrics_url.removesuffix("/metrics").rsplit(":", 1)[1])
    for junk in (b"\x16\x03\x01\x02\x00", b"GET /metrics\r\n\r\n", b"GET /metrics HTTP/1.1\r\nA b\r\n\r\n"):
        async with open_wire(port) as wire:
            wire.send(junk + b"\r\n\r\n")
            assert b" 400 " in (await wire.at_end())[:20]
    async with open_wire(port) as silent, open_wire(port) as pipelining:
        pipelining.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        assert [(await pipelining.answer()).status for _ in range(3)] == [200] * 3
        await server.clock.advance(30)
        assert await silent.at_end() == b""


async def test_the_own_address_is_closed_with_the_server(start_server: StartServer, tmp_path: Path) -> None:
    flags = {"listen-http": "127.0.0.1:0", "metrics-listen-http": "127.0.0.1:0", "data-dir": str(tmp_path)}
    async with aiohttp.ClientSession() as session:
        async with running(load(flags, {}, None)) as server, session.get(server.metrics_url) as response:
            assert response.status == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(server.metrics_url)


# How they are written


async def test_every_metric_is_announced_with_its_kind_and_parses(measured: Server) -> None:
    text = await scrape(measured)
    list(parse_text(text))
    announced = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    ours = {name: kind for name, kind in announced.items() if name.startswith("ntfy")}
    assert ours == {row.name: row.kind.value for row in ROWS}
    meanings = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    assert all(meanings[row.name] == row.text for row in ROWS)
    assert {"process_resident_memory_bytes", "python_info", "python_gc_collections_total"} <= announced.keys()


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text",
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        "APPLICATION/OpenMetrics-Text; version=999999999999999999999999; escaping=\xff",
        "application/openmetrics-text;version=a.b.c",
    ],
)
async def test_whoever_accepts_openmetrics_gets_it(measured: Server, accept: str) -> None:
    await measured.publish("t")
    async with measured.http.get(measured.running.metrics_url, headers={"Accept": accept}) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, OPENMETRICS)
        text = await response.text()
    families = {family.name: family for family in parse_openmetrics(text)}
    assert families["ntfy_messages_published_success"].samples[0].value == 1
    assert families["ntfyish_publish_duration_seconds"].type == "histogram"
    assert families["ntfyish_fanout_deliveries"].type == "counter"


@pytest.mark.parametrize("accept", ["*/*", "", "text/plain;version=x", "application/json", "q" * 5000])
async def test_whoever_accepts_anything_else_gets_text(measured: Server, accept: str) -> None:
    async with measured.http.get(measured.running.metrics_url, headers={"Accept": accept}) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, TEXT)
        list(parse_text(await response.text()))


async def test_two_servers_of_one_process_count_by_themselves(
    measured: Server, start_server: StartServer
) -> None:
    second = await start_server(enable_metrics=True, data_dir=measured.data_dir / "second")
    await measured.publish("t")
    assert (await figures(measured))["ntfy_messages_published_success"] == 1
    assert (await figures(second))["ntfy_messages_published_success"] == 0


# What they count


async def test_publishes_and_refusals_of_both_apis_are_counted(measured: Server) -> None:
    url = measured.url
    await measured.publish("t", "one")
    await measured.publish("t", "two", Cache="no")
    await measured.publish("t", "three", Delay="1h")
    await measured.publish("t", "four", **{"X-UnifiedPush": "1"})
    assert await status(measured, "POST", f"{url}/", json={"topic": "t", "message": "five"}) == 200
    assert await status(measured, "DELETE", f"{url}/t/sequence") == 200
    parameters = {"token": APP_TOKEN, "user": f"{USER_KEY},{TOPIC_KEY}", "message": "six, to two"}
    assert await status(measured, "POST", f"{url}/1/messages.json", data=parameters) == 200
    bad_priority = {"Priority": "x"}
    assert await status(measured, "POST", f"{url}/t", data=b"x", headers=bad_priority) == 400
    assert await status(measured, "POST", f"{url}/", json={"topic": "t", "priority": 9}) == 400
    assert await status(measured, "POST", f"{url}/1/messages.json", data={**parameters, "message": ""}) == 400
    # Whoever may not publish at all has not tried.
    assert await status(measured, "POST", f"{url}/t", headers=basic("phil", "x")) == 401
    assert await status(measured, "POST", f"{url}/docs", data=b"x") == 400
    found = await figures(measured)
    assert found["ntfy_messages_published_success"] == 7
    assert found["ntfy_messages_published_failure"] == 3
    assert found["ntfy_unifiedpush_published_success"] == 1
    assert found["ntfyish_publish_duration_seconds_count"] == 7
    assert found['ntfyish_publish_duration_seconds_bucket{le="+Inf"}'] == 7
    assert found["ntfy_messages_cached_total"] == 6  # the one of no cache is not, the last are two
    assert found["ntfyish_scheduled_messages"] == 1
    assert found["ntfy_users_total"] == 1
    assert found["ntfy_topics_total"] == 3
    assert found["ntfyish_store_writes_total"] >= 6
    assert 1 <= found["ntfyish_store_commits_total"] <= found["ntfyish_store_writes_total"]


async def test_readers_deliveries_and_visitors_are_counted(measured: Server) -> None:
    wires = [await measured.wire() for _ in range(4)]
    for wire, path in zip(wires, ("t/json", "t/json", "t/raw?priority=5", "t,u/sse"), strict=True):
        wire.send_request(f"GET /{path}")
        await wire.head()
    await wires[0].json_line()
    for number in range(3):
        await measured.publish("t", str(number), Priority="5" if number == 2 else "3")
        assert (await wires[0].json_line())["message"] == str(number)
    await measured.publish("u")
    await measured.publish("nobody")
    await until(measured, "ntfyish_fanout_deliveries_total", 3 + 3 + 1 + 3 + 1)
    found = await figures(measured)
    assert found["ntfy_subscribers_total"] == 4
    assert found["ntfy_visitors_total"] == 1
    assert answers(found)[("200", "20000", "GET")] >= 4
    for wire in wires:
        wire.writer.close()
    await until(measured, "ntfy_subscribers_total", 0)


async def test_a_reader_that_is_cut_is_counted(start_server: StartServer) -> None:
    server = await start_server(
        enable_metrics=True, subscriber_backlog_size="64k", subscriber_send_buffer="16k"
    )
    async with open_wire(server.port, receive_buffer=4096) as slow:
        slow.send_request("GET /t/json")
        await slow.head()
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while server.running.streams.open:
            await server.publish("t", "x" * 4000)
    found = await figures(server)
    assert (found["ntfyish_streams_dropped_total"], found["ntfy_subscribers_total"]) == (1, 0)


async def test_answers_of_both_lanes_are_counted_by_status_code_and_method(measured: Server) -> None:
    wire = await measured.wire()
    for _ in range(2):
        assert (await wire.request("POST /t", body=b"front lane")).status == 200
    assert (await wire.request("PUT /t", "Priority: x", body=b"front lane")).status == 400
    assert (await wire.request("GET /nothing/here/at/all")).status == 404
    assert (await wire.request("GET /v1/health")).status == 200
    other = await measured.wire()
    other.send("PUT /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    assert (await other.answer()).status == 200
    assert (await other.request("POST /1/messages.json", body=b"token=x")).status == 400
    assert (await other.request("POST /t", "Expect: a miracle", body=b"x")).status == 417
    junk = await measured.wire()
    junk.send("GARBAGE\r\n\r\n")
    assert b" 400 " in (await junk.at_end())[:20]
    assert answers(await figures(measured)) == {
        ("200", "20000", "POST"): 2,
        ("200", "20000", "PUT"): 1,
        ("200", "20000", "GET"): 1,
        ("400", "40007", "PUT"): 1,
        ("404", "40401", "GET"): 1,
        ("400", "40000", "POST"): 1,
        ("417", "41700", "POST"): 1,
        ("400", "40000", "OTHER"): 1,
    }


async def test_hostile_methods_and_paths_make_no_labels_of_their_own(measured: Server) -> None:
    for number in range(30):
        for request in (
            f"X{number} /t{number} HTTP/1.1",
            f"GET /%22%7d%0a{number}/%ff?{'q' * number} HTTP/1.1",
            f'G"{number}\n /x HTTP/1.1',
            f"{('PROPFIND', 'LINK', 'TRACE', 'PURGE', 'SEARCH')[number % 5]} /t HTTP/1.1",
            f"POST /topic{number} HTTP/1.1",
        ):
            async with open_wire(measured.port) as wire:
                wire.send(f"{request}\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert (await wire.at_end())[:5] == b"HTTP/"
    text = await scrape(measured)
    list(parse_text(text))
    assert text.count("ntfy_http_requests_total{") <= 10
    assert len(text) < 20_000
    found = answers(await figures(measured))
    assert {method for _, _, method in found} <= METHODS
    assert found["404", "40401", "OTHER"] == 30
    assert found["200", "20000", "POST"] == 30


async def test_nothing_that_anybody_sent_or_owns_is_in_a_label(start_server: StartServer) -> None:
    server = await start_server(
        enable_metrics=True,
        accounts=[{"name": "philomena", "user-key": USER_KEY, "password": "topsecret"}],
        apps=[{"name": "Backups", "token": APP_TOKEN, "account": "philomena"}],
    )
    login = basic("philomena", "topsecret")
    assert await status(server, "POST", f"{server.url}/secrettopic", data=b"secretbody", headers=login) == 200
    parameters = {"token": APP_TOKEN, "user": USER_KEY, "message": "secretbody", "title": "secrettitle"}
    assert await status(server, "POST", f"{server.url}/1/messages.json", data=parameters) == 200
    assert await status(server, "PROPFIND", f"{server.url}/secretpath") == 404
    text = await scrape(server)
    for secret in (
        "secret",
        "philomena",
        "Backups",
        USER_KEY,
        APP_TOKEN,
        TOPIC_KEY,
        "127.0.0.1",
        str(server.data_dir),
    ):
        assert secret.lower() not in text.lower(), secret


async def test_emergencies_are_counted_with_what_becomes_of_them(start_server: StartServer) -> None:
    server = await start_server(enable_metrics=True)
    for _ in range(3):
        await send(server, retry="60", expire="150")
    receipt = await send(server, retry="30", expire="600")
    await server.publish("alerts", Priority="5", **{"X-Retry": "100", "X-Expire": "90s"})
    found = await figures(server)
    assert found["ntfyish_receipts_active"] == 5
    assert (found["ntfyish_receipts_begun_total"], found["ntfyish_receipt_sends_total"]) == (5, 5)
    first = (await sent(server))[0]
    async with asyncio.TaskGroup() as both:  # two readers at once acknowledge it once
        presses = [both.create_task(press(server, first)) for _ in range(2)]
    assert [one.result() for one in presses] == [200, 200]
    assert (await ask(server, "POST", f"receipts/{receipt}/cancel.json", token=APP_TOKEN))[0] == 200
    assert (await ask(server, "POST", f"receipts/{receipt}/cancel.json", token=APP_TOKEN))[0] == 200
    found = await figures(server)
    assert found["ntfyish_receipts_acknowledged_total"] == 1
    assert found["ntfyish_receipts_cancelled_total"] == 1
    assert found["ntfyish_receipts_active"] == 3
    await server.clock.advance(60)
    await until(server, "ntfyish_receipt_sends_total", 5 + 2)
    await server.clock.advance(35)
    await until(server, "ntfyish_receipts_expired_total", 1)
    await server.clock.advance(25)
    await until(server, "ntfyish_receipt_sends_total", 5 + 2 + 2)
    await server.clock.advance(35)
    await until(server, "ntfyish_receipts_expired_total", 3)
    found = await figures(server)
    assert found["ntfyish_receipts_active"] == 0
    assert found["ntfyish_receipts_begun_total"] == 5


async def test_mail_that_comes_in_is_counted(start_server: StartServer) -> None:
    server = await start_server(
        enable_metrics=True, smtp_server_listen="127.0.0.1:0", smtp_server_domain="push.example"
    )

    def mail(to: str, text: str) -> None:
        with smtplib.SMTP("127.0.0.1", server.running.mail_port, timeout=20) as client:
            try:
                client.sendmail("a@b.example", [f"{to}@push.example"], text)
            except smtplib.SMTPException:
                pass

    for to, text in ((USER_KEY, "Subject: a\r\n\r\nb"), ("no such", "\r\nb"), ("alerts", "\r\n")):
        await asyncio.to_thread(mail, to, text)
    found = await figures(server)
    assert found["ntfy_emails_received_success"] == 1
    assert found["ntfy_emails_received_failure"] == 2
    assert found["ntfy_messages_published_success"] == 1


async def test_mail_that_goes_out_or_waits_is_counted(start_server: StartServer, sink: Sink) -> None:
    server = await start_server(**settings(sink.port, enable_metrics=True))

    async def publish() -> None:
        headers = {"X-Email": "yes", **basic("phil", "secret")}
        assert await status(server, "POST", f"{server.url}/t", headers=headers) == 200
        await sink.next()

    for answer in ("250 OK", "550 No", "451 Later"):
        sink.answer = answer
        await publish()
    await until(server, "ntfy_emails_sent_success", 1)
    await until(server, "ntfy_emails_sent_failure", 1)
    found = await figures(server, 20)
    assert found['ntfyish_errands_pending{kind="email"}'] == 1
    assert 20 <= found['ntfyish_errands_oldest_age_seconds{kind="email"}'] <= 25


async def test_files_and_open_clients_are_shown(start_server: StartServer) -> None:
    server = await start_server(enable_metrics=True, base_url="http://push.test")
    await server.publish("t", "x" * 5000)
    login = {"email": "phil", "password": "secret"}
    async with server.http.post(f"{server.url}/1/users/login.json", data=login) as response:
        secret = (await response.json())["secret"]
    fields = {"secret": secret, "name": "droid", "os": "O"}
    async with server.http.post(f"{server.url}/1/devices.json", data=fields) as response:
        device = (await response.json())["id"]
    async with server.http.ws_connect(f"{server.url}/push") as socket:
        await socket.send_str(f"login:{device}:{secret}\n")
        found = await figures(server)
        assert found["ntfyish_open_clients"] == 1
        assert found["ntfy_attachments_total_size"] == 5000


async def test_pushes_are_shown_by_kind_with_zeros_from_the_start(measured: Server) -> None:
    counters = measured.running.streams.counters
    counters.pushes["apns", "gone"] += 2
    counters.push_results["apns", "failed"] += 2
    counters.pushes_entered["apns"] += 5
    for seconds in (0.125, 0.375):
        counters.push_durations.observe(seconds)
    # A service may say anything; it is shown in a form that a scraper can read.
    counters.push_paused["apns:app.example"] = 'Invalid"Token\n\\\udc80' + "x" * 500
    found = await figures(measured)
    list(parse_text(await scrape(measured)))
    assert found['ntfyish_pushes_total{kind="apns",verdict="gone"}'] == 2
    assert found['ntfyish_pushes_total{kind="webpush",verdict="gone"}'] == 0
    assert found['ntfyish_push_results_total{kind="apns",state="failed"}'] == 2
    assert found['ntfyish_push_results_total{kind="webpush",state="expired"}'] == 0
    assert found['ntfyish_pushes_entered_total{kind="apns"}'] == 5
    assert found["ntfyish_push_duration_seconds_sum"] == 0.5
    assert found["ntfyish_push_duration_seconds_count"] == 2
    bucket = 'ntfyish_push_duration_seconds_bucket{le="%s"}'
    assert [found[bucket % bound] for bound in ("0.1", "0.25", "0.5", "30.0", "+Inf")] == [0, 1, 2, 2, 2]
    (paused,) = [name for name in found if name.startswith("ntfyish_push_destinations_paused")]
    assert paused.startswith(
        r'ntfyish_push_destinations_paused{destination="apns:app.example",reason="Invalid\"Token\n\\?xxx'
    )
    assert len(paused) < 300
    assert 'ntfyish_push_queue_pending{kind="apns"}' in found
    assert found["ntfyish_push_queue_oldest_age_seconds"] == 0


# The server while it is in trouble


async def test_a_scrape_answers_while_the_store_is_locked(start_server: StartServer) -> None:
    server = await start_server(enable_metrics=True, storage_busy_timeout="100ms")
    await server.publish("t")
    with closing(sqlite3.connect(server.data_dir / "messages.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        assert await status(server, "POST", f"{server.url}/t", data=b"x") == 503
        found = await figures(server)
        foreign.execute("ROLLBACK")
    assert (found["ntfy_messages_published_success"], found["ntfy_messages_published_failure"]) == (1, 1)
    assert found["ntfy_messages_cached_total"] == 1
    assert answers(found)[("503", "50301", "POST")] == 1


async def test_a_loop_that_was_held_up_shows_it_for_a_while(measured: Server) -> None:
    assert (await figures(measured))["ntfyish_event_loop_lag_max_seconds"] < 0.2
    end = time.monotonic() + 0.9  # longer than the time between two looks, by more than that is late
    while time.monotonic() < end:
        pass
    async with asyncio.timeout(5):
        while (await figures(measured))["ntfyish_event_loop_lag_max_seconds"] < 0.3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# What is written about them


def described() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Return the table of the documentation: name -> kind, labels, meaning."""
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| (.*?) ?\| (.+) \|$", (ROOT / "docs/metrics.md").read_text(), re.M
    )
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in rows}


def test_the_documentation_lists_every_metric_as_it_is() -> None:
    assert described() == {row.name: (row.kind.value, row.labels, row.text) for row in ROWS}


def test_no_page_names_a_metric_that_is_not_there() -> None:
    known = {name for row in ROWS for name in (row.name, *row.labels)}
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        named = set(re.findall(r"`(ntfy(?:ish)?_[a-z_]+)[`{]", page.read_text()))
        assert named <= known, page.name


def names_in(expression: str) -> set[str]:
    """Return the metrics that an expression of PromQL is about."""
    without_labels = re.sub(r"\{[^}]*\}|\bby \([^)]*\)", "", expression)
    return set(re.findall(r"\b(?:ntfy|ntfyish|process|python)_\w+", without_labels))


def exposed(text: str) -> set[str]:
    """Return the names by which samples can be asked for."""
    announced = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    ends = ("_bucket", "_sum", "_count")
    return {
        name + end for name, kind in announced.items() for end in (ends if kind == "histogram" else ("",))
    }


def dashboard() -> dict[str, Any]:
    return dict(json.loads((ROOT / "examples/grafana/ntfyish.json").read_text()))


async def test_the_dashboard_and_the_alerts_ask_for_nothing_that_is_not_there(measured: Server) -> None:
    asked = {
        name
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
        for name in names_in(target["expr"])
    }
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/metrics.md").read_text(), re.DOTALL)
    for group in (group for block in blocks for group in yaml.safe_load(block).get("groups", ())):
        for rule in group["rules"]:
            assert names_in(rule["expr"]), rule
            asked |= names_in(rule["expr"])
    known = exposed(await scrape(measured))
    assert asked - known == set()
    ours = {row.name for row in ROWS if row.kind in (Kind.COUNTER, Kind.GAUGE)}
    shown_elsewhere = {
        "ntfyish_build_info",  # asked by the variables of the dashboard
        "ntfy_message_publish_duration_ms",  # the histogram says more
        "ntfy_matrix_published_failure",
    }
    assert ours - asked == shown_elsewhere


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = dashboard()
    assert board["schemaVersion"] >= 39
    assert board["title"]
    assert board["uid"]
    variables = {variable["name"]: variable["type"] for variable in board["templating"]["list"]}
    assert variables["datasource"] == "datasource"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["targets"]
