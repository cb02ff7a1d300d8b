"""Mail that comes in over SMTP, from a client of the standard library."""

from __future__ import annotations

import asyncio
import smtplib
import time
from email.message import EmailMessage

import pytest

from tests.conftest import USER_KEY, Server, StartServer

DOMAIN = "push.example.org"
TOKEN = "tk_mailmailmailmailmailmailmail1"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100
ALIASES = [
    {"name": "backups", "sound": "bike", "priority": "-1", "device": "droid2", "ignore-timestamps": "true"}
]
PHIL = {"name": "phil", "user-key": USER_KEY, "password": "secret", "aliases": ALIASES}


def letter(subject: str = "Backup", text: str = "done") -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = subject
    mail["Date"] = "Mon, 01 Jan 2024 00:00:00 +0000"
    mail.set_content(text)
    return mail


@pytest.fixture
def start(start_server: StartServer) -> StartServer:
    async def begin(**settings: object) -> Server:
        flags: dict[str, object] = {
            "smtp-server-listen": "127.0.0.1:0",
            "smtp-server-domain": DOMAIN,
            "base-url": "http://push.test",
            "accounts": [{**PHIL, "tokens": [{"token": TOKEN}]}],
        }
        return await start_server(**{**flags, **settings})

    return begin


async def send(server: Server, to: str, mail: EmailMessage | bytes | None = None) -> tuple[int, str]:
    """Send a mail and return the answer to the last command."""
    content = letter() if mail is None else mail
    raw = content.as_bytes() if isinstance(content, EmailMessage) else content

    def work() -> tuple[int, str]:
        with smtplib.SMTP("127.0.0.1", server.running.mail_port, timeout=20) as client:
            client.ehlo()
            client.mail("a@b.example")
            code, text = client.rcpt(to)
            if code == 250:
                code, text = client.data(raw)
            return code, text.decode()

    return await asyncio.to_thread(work)


async def talk(server: Server, *pieces: bytes) -> bytes:
    """Send raw bytes and return all answers until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.running.mail_port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


async def test_mail_to_a_user_key_is_a_message_to_the_account(start: StartServer) -> None:
    server = await start()
    assert await send(server, f"{USER_KEY}@{DOMAIN}", letter("Grüße", "hällo\nda")) == (
        250,
        "2.0.0 Published",
    )
    [message] = await server.poll(USER_KEY)
    assert (message["title"], message["message"], message["timestamp"]) == ("Grüße", "hällo\nda", 1704067200)


async def test_an_alias_has_defaults_of_its_own(start: StartServer) -> None:
    server = await start()
    assert (await send(server, f"Backups@{DOMAIN.upper()}"))[0] == 250
    [message] = await server.poll(USER_KEY)
    assert (message["sound"], message["priority"], message["device"]) == ("bike", 2, "droid2")
    assert "timestamp" not in message


async def test_the_first_picture_is_the_attachment(start: StartServer) -> None:
    server = await start()
    mail = letter()
    mail.add_attachment(PNG, maintype="image", subtype="png", filename="cam.png")
    assert (await send(server, f"{USER_KEY}@{DOMAIN}", mail))[0] == 250
    [message] = await server.poll(USER_KEY)
    assert message["attachment"]["name"] == "cam.png"
    path = message["attachment"]["url"].removeprefix("http://push.test")
    async with server.http.get(server.url + path) as response:
        assert await response.read() == PNG


async def test_a_picture_that_is_too_large_is_left_out(start: StartServer) -> None:
    server = await start(attachment_file_size_limit="50")
    mail = letter()
    mail.add_attachment(PNG, maintype="image", subtype="png", filename="cam.png")
    assert (await send(server, f"{USER_KEY}@{DOMAIN}", mail))[0] == 250
    [message] = await server.poll(USER_KEY)
    assert "attachment" not in message
    assert message["message"] == "done"


async def test_mail_to_a_topic_is_a_message_to_it(start: StartServer) -> None:
    server = await start()
    assert (await send(server, f"alerts@{DOMAIN}"))[0] == 250
    [message] = await server.poll("alerts")
    assert (message["title"], message["message"]) == ("Backup", "done")
    assert "timestamp" not in message


async def test_a_subject_without_text_is_the_message(start: StartServer) -> None:
    server = await start()
    assert (await send(server, f"alerts@{DOMAIN}", letter("only this", "")))[0] == 250
    [message] = await server.poll("alerts")
    assert message["message"] == "only this"
    assert "title" not in message


async def test_a_long_text_is_cut_in_whole_characters(start: StartServer) -> None:
    server = await start()
    assert (await send(server, f"alerts@{DOMAIN}", letter("s", "x" + "€" * 3000)))[0] == 250
    [message] = await server.poll("alerts")
    assert message["message"] == "x" + "€" * 1365
    assert "attachment" not in message


async def test_a_prefix_stands_before_topics_and_not_before_accounts(start: StartServer) -> None:
    server = await start(smtp_server_addr_prefix="ntfy-")
    assert (await send(server, f"alerts@{DOMAIN}"))[0] == 550
    assert (await send(server, f"ntfy-alerts@{DOMAIN}"))[0] == 250
    assert (await send(server, f"{USER_KEY}@{DOMAIN}"))[0] == 250


async def test_a_token_gives_its_rights(start: StartServer) -> None:
    server = await start(auth_default_access="deny-all", auth_access=["phil:alerts:rw"])
    assert (await send(server, f"alerts@{DOMAIN}"))[0] == 550
    assert (await send(server, f"alerts+tk_wrongwrongwrongwrongwrongwron@{DOMAIN}"))[0] == 550
    assert (await send(server, f"other+{TOKEN}@{DOMAIN}"))[0] == 550
    assert (await send(server, f"alerts+{TOKEN}@{DOMAIN}"))[0] == 250


@pytest.mark.parametrize(
    "to",
    [
        "alerts@elsewhere.example",
        "alerts",
        f"a/b@{DOMAIN}",
        f"uNobodyNobodyNobodyNobodyNobod@{DOMAIN}",
        f"@{DOMAIN}",
    ],
)
async def test_unknown_recipients_are_refused(start: StartServer, to: str) -> None:
    server = await start()
    assert (await send(server, to))[0] in (550, 553)


async def test_a_mail_has_one_recipient(start: StartServer) -> None:
    server = await start()
    said = await talk(
        server,
        b"EHLO x\r\nMAIL FROM:<a@b>\r\n",
        f"RCPT TO:<one@{DOMAIN}>\r\nRCPT TO:<two@{DOMAIN}>\r\nQUIT\r\n".encode(),
    )
    assert b"452 4.5.3" in said


async def test_visitors_are_limited_by_their_address(start: StartServer) -> None:
    server = await start(visitor_request_limit_burst="2", visitor_request_limit_exempt_hosts=[])
    codes = [(await send(server, f"{USER_KEY}@{DOMAIN}"))[0] for _ in range(3)]
    assert codes == [250, 250, 450]


async def test_who_guesses_addresses_is_slowed_down(start: StartServer) -> None:
    server = await start(visitor_auth_failure_limit_burst="2", smtp_server_addr_prefix="p-")
    codes = [(await send(server, f"guess{number}@{DOMAIN}"))[0] for number in range(3)]
    assert codes == [550, 550, 450]


async def test_a_bare_line_feed_does_not_end_a_mail(start: StartServer) -> None:
    server = await start()
    smuggled = f"\n.\nMAIL FROM:<x@y>\r\nRCPT TO:<second@{DOMAIN}>\r\nDATA\r\nevil\r\n.\r\n".encode()
    for end in (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r"):
        await talk(
            server,
            f"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<first@{DOMAIN}>\r\nDATA\r\n".encode(),
            b"Subject: s\r\n\r\nhi" + end + smuggled + b"QUIT\r\n",
        )
    assert len(await server.poll("first")) == 4
    assert await server.poll("second") == []


async def test_who_sends_much_more_than_allowed_is_cut_off(start: StartServer) -> None:
    server = await start()
    begin = f"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<big@{DOMAIN}>\r\nDATA\r\n".encode()
    for filler in (b"x" * 65_536, b"x\r\n" * 20_000):
        try:
            said = await talk(server, begin, *[filler] * 40)
        except ConnectionError:
            continue
        assert b"552" in said
    assert await server.poll("big") == []
    assert (await send(server, f"alerts@{DOMAIN}"))[0] == 250


async def test_a_mail_that_announces_too_many_bytes_is_refused_at_once(start: StartServer) -> None:
    server = await start()
    assert b"552" in await talk(server, b"EHLO x\r\nMAIL FROM:<a@b> SIZE=52428800\r\nQUIT\r\n")


async def test_a_mail_of_empty_lines_keeps_nobody_waiting(start: StartServer) -> None:
    server = await start()
    task = asyncio.create_task(send(server, f"alerts@{DOMAIN}", b"Subject: s\r\n\r\n" + b"\r\n" * 400_000))
    longest = 0.0
    while not task.done():
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - started)
    assert (await task)[0] == 250
    assert longest < 0.3


async def test_one_address_has_only_so_many_connections(start: StartServer) -> None:
    server = await start()
    opened = []
    for _ in range(8):
        opened.append(await asyncio.open_connection("127.0.0.1", server.running.mail_port))
        assert (await opened[-1][0].readline()).startswith(b"220")
    assert (await talk(server)).startswith(b"421")
    for _, writer in opened:
        writer.close()
