"""E-mail that goes out for ntfy's X-Email, to a mail server that runs here."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any

import pytest
import pytest_asyncio
from aiosmtpd.smtp import SMTP, Envelope, Session

from ntfyish.core.letters import compose
from ntfyish.model.message import Content, Message, MessageId
from tests.clock import FakeClock
from tests.conftest import USER_KEY, Server, StartServer

ACCOUNTS = [
    {
        "name": "phil",
        "user-key": USER_KEY,
        "password": "secret",
        "email": "phil@example.org",
        "verified-emails": ["phil@work.example"],
    },
    {"name": "vera", "password": "secret"},
]
PHIL = {"Authorization": "Basic cGhpbDpzZWNyZXQ="}
VERA = {"Authorization": "Basic dmVyYTpzZWNyZXQ="}


class Sink:
    """A mail server that keeps what it gets, and answers as told."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, EmailMessage]] = []
        self.answer = "250 OK"
        self.tried = asyncio.Event()
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            content = envelope.original_content
            assert content is not None
            parsed = email.message_from_bytes(content, policy=email.policy.default)
            self.letters.append((envelope.rcpt_tos[0], parsed))
        self.tried.set()
        return self.answer

    async def next(self) -> None:
        await asyncio.wait_for(self.tried.wait(), 10)
        self.tried.clear()


@pytest_asyncio.fixture
async def sink() -> AsyncIterator[Sink]:
    sink = Sink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(sink, hostname="sink", loop=loop), "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    yield sink
    server.close()


def settings(port: int, **more: object) -> dict[str, object]:
    return {
        "accounts": ACCOUNTS,
        "base-url": "https://push.example.com",
        "smtp-sender-addr": f"127.0.0.1:{port}",
        "smtp-sender-from": "server@example.com",
        **more,
    }


async def publish(server: Server, headers: dict[str, str], who: dict[str, str] = PHIL) -> dict[str, Any]:
    async with server.http.post(f"{server.url}/alerts", data=b"hi", headers={**who, **headers}) as response:
        return dict(await response.json())


async def test_a_message_goes_to_the_accounts_own_address(start_server: StartServer, sink: Sink) -> None:
    server = await start_server(**settings(sink.port))
    published = await publish(
        server, {"X-Email": "yes", "Title": "Grüße", "Tags": "warning,disk", "Priority": "5"}
    )
    await sink.next()
    [(to, letter)] = sink.letters
    assert to == letter["To"].addresses[0].addr_spec == "phil@example.org"
    assert str(letter["From"]) == '"push.example.com/alerts" <server@example.com>'
    assert letter["Subject"] == "⚠️ Grüße"
    assert letter["Message-ID"] == f"<{published['id']}@example.com>"
    assert letter.get_content().replace("\r\n", "\n") == (
        "hi\n\nTags: disk\nPriority: max\n\n--\n"
        "This message was sent at Tue, 14 Nov 2023 22:13:20 UTC via https://push.example.com/alerts\n"
    )
    assert "127.0.0.1" not in letter.get_content()


@pytest.mark.parametrize("name", ["X-Email", "X-E-Mail", "Email", "E-Mail", "Mail", "E"])
async def test_all_aliases_of_the_header_work(start_server: StartServer, sink: Sink, name: str) -> None:
    server = await start_server(**settings(sink.port))
    assert "id" in await publish(server, {name: "Phil@Work.example"})
    await sink.next()
    assert [to for to, _ in sink.letters] == ["phil@work.example"]


@pytest.mark.parametrize(
    ("who", "headers", "code"),
    [
        (PHIL, {"X-Email": "other@example.org"}, 40052),
        (VERA, {"X-Email": "yes"}, 40052),
        (PHIL, {"X-Email": "a@b.example,c@d.example"}, 40050),
        (PHIL, {"X-Email": "no address"}, 40050),
        ({}, {"X-Email": "phil@example.org"}, 40053),
        ({}, {"X-Email": "yes"}, 40053),
        (PHIL, {"X-Email": "yes", "Delay": "1h"}, 40003),
        (PHIL, {"X-Email": "yes", "Delay": "1h", "Cache": "no"}, 40002),
        (PHIL, {"X-Email": "nobody", "Priority": "9"}, 40050),
    ],
)
async def test_who_may_not_have_mail_sent_is_told_why(
    start_server: StartServer, sink: Sink, who: dict[str, str], headers: dict[str, str], code: int
) -> None:
    server = await start_server(**settings(sink.port))
    assert (await publish(server, headers, who))["code"] == code
    assert await server.poll("alerts") == []


async def test_without_a_mail_server_there_is_no_mail(server: Server) -> None:
    assert (await publish(server, {"X-Email": "yes"}, {}))["code"] == 40001


async def test_unverified_addresses_can_be_allowed(start_server: StartServer, sink: Sink) -> None:
    server = await start_server(**settings(sink.port, **{"smtp-sender-verify": "false"}))
    assert "id" in await publish(server, {"X-Email": "who@ever.example"}, {})
    assert (await publish(server, {"X-Email": "yes"}, {}))["code"] == 40053
    await sink.next()
    assert [to for to, _ in sink.letters] == ["who@ever.example"]


async def test_mails_are_limited(start_server: StartServer, sink: Sink) -> None:
    server = await start_server(**settings(sink.port, **{"visitor-email-limit-burst": "2"}))
    answers = [await publish(server, {"X-Email": "yes"}) for _ in range(3)]
    assert [answer.get("code") for answer in answers] == [None, None, 42902]
    assert len(await server.poll("alerts")) == 2
    await server.clock.advance(3600)
    assert "id" in await publish(server, {"X-Email": "yes"})


async def test_a_publish_as_json_sends_mail_too(start_server: StartServer, sink: Sink) -> None:
    server = await start_server(**settings(sink.port))
    body = {"topic": "alerts", "message": "hi", "email": "phil@example.org"}
    async with server.http.post(server.url, json=body, headers=PHIL) as response:
        assert response.status == 200
    await sink.next()
    assert len(sink.letters) == 1


async def test_mail_waits_for_the_mail_server_across_a_restart(
    start_server: StartServer, sink: Sink, tmp_path: Any
) -> None:
    clock = FakeClock()
    sink.answer = "451 later"
    first = await start_server(clock=clock, data_dir=tmp_path / "one", **settings(sink.port))
    assert "id" in await publish(first, {"X-Email": "yes", "Cache": "no"})
    await sink.next()
    await first._stack.aclose()
    sink.answer = "250 OK"
    later = FakeClock(clock.now() + 120)
    await start_server(clock=later, data_dir=tmp_path / "one", **settings(sink.port))
    await sink.next()
    assert [to for to, _ in sink.letters] == ["phil@example.org"]


async def test_a_letter_that_is_refused_for_good_is_not_tried_again(
    start_server: StartServer, sink: Sink
) -> None:
    server = await start_server(**settings(sink.port))
    sink.answer = "554 spam"
    await publish(server, {"X-Email": "yes"})
    await sink.next()
    sink.answer = "250 OK"
    await publish(server, {"X-Email": "yes", "Title": "second"})
    await sink.next()
    await server.clock.advance(3600)
    assert [letter["Subject"] for _, letter in sink.letters] == ["second"]


async def test_a_publish_succeeds_while_the_mail_server_is_down(start_server: StartServer) -> None:
    server = await start_server(**settings(1))
    assert "id" in await publish(server, {"X-Email": "yes"})


@pytest.mark.parametrize(
    "text", ["a\r\nBcc: evil@example.org", "a\n\nbody", "=?utf-8?q?a=0ABcc:_x?=", "ä" * 900, "x\0y"]
)
def test_nothing_in_a_message_becomes_a_header(text: str) -> None:
    message = Message(
        id=MessageId("abc"),
        time=1_700_000_000,
        topic="t",
        content=Content(title=text, message=text, tags=(text,)),
    )
    raw = compose(message, "a@b.example", base_url="https://p.example", from_address="s@b.example")
    head = raw.split(b"\r\n\r\n")[0]
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    assert parsed.keys() == [
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
        "Content-Transfer-Encoding",
    ]  # fmt: skip
    assert all(len(line) <= 78 for line in head.split(b"\r\n"))


async def test_clients_are_told_that_there_is_mail(start_server: StartServer, server: Server) -> None:
    mailing = await start_server(**settings(1), data_dir=server.data_dir.with_name("mailing"))
    for one, expected in ((mailing, True), (server, False)):
        async with one.http.get(f"{one.url}/v1/config") as response:
            assert (await response.json())["enable_emails"] is expected


async def test_the_account_shows_what_is_left_of_its_emails(start_server: StartServer, sink: Sink) -> None:
    server = await start_server(
        **settings(sink.port), visitor_email_limit_burst=4, visitor_email_limit_replenish="2h"
    )

    async def shown() -> tuple[int, int, int]:
        async with server.http.get(f"{server.url}/v1/account", headers=PHIL) as response:
            account = await response.json()
        stats = account["stats"]
        return account["limits"]["emails"], stats["emails"], stats["emails_remaining"]

    assert await shown() == (12, 0, 4)
    await server.publish("t", **PHIL, Email="phil@example.org")
    assert await shown() == (12, 1, 3)
    await server.clock.advance(2 * 3600)
    assert await shown() == (12, 0, 4)
