"""What must not leak or be let in: secrets on disk and in the log, and browsers from elsewhere."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from ntfyish.core.access import Access
from tests.conftest import APP_TOKEN, TOPIC_KEY, Server, StartServer
from tests.hardening.process import Processes, form

TOKEN = "tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2"
HASH = "$2b$04$xQHDevC3u5tUlUgtnUx2zOgSV.0F9ZUHEy52Dl6rdqx7Xpz9syga."


def test_a_token_is_found_by_its_hash_and_compared_in_constant_time() -> None:
    source = inspect.getsource(Access._by_token)
    assert "hash_access_token" in source
    assert "compare_digest" in source


async def test_access_tokens_are_kept_as_hashes_only(start_server: StartServer) -> None:
    server = await start_server(
        accounts=[], apps=[], auth_users=[f"phil:{HASH}:admin"], auth_tokens=[f"phil:{TOKEN}:backups"],
        auth_default_access="deny-all",
    )  # fmt: skip
    wire = await server.wire()
    assert (await wire.request("POST /t", f"Authorization: Bearer {TOKEN}")).status == 200
    wrong = TOKEN[:-1] + "3"
    assert (await wire.request("POST /t", f"Authorization: Bearer {wrong}")).status == 401
    assert (await wire.request("POST /t")).status == 403
    await server._stack.aclose()
    for path in server.data_dir.iterdir():
        assert TOKEN.encode() not in contents(path)


def contents(path: Path) -> bytes:
    return path.read_bytes()


async def test_neither_secrets_nor_texts_get_into_the_log_at_its_loudest(processes: Processes) -> None:
    process = await processes.start(log_level="debug", auth_default_access="deny-all")
    wire = await process.wire()
    secret = "s3cr3t-t3xt"
    form_type = "Content-Type: application/x-www-form-urlencoded"
    for line, body in (
        (f"POST /t?auth={secret}", secret),
        (f"POST /{TOPIC_KEY}?title={secret}", secret),
        ("POST /1/messages.json", form(secret, title=secret).decode()),
        ("POST /1/messages.json", form(secret, priority="nonsense").decode()),
        (f"POST /1/messages.json?token={APP_TOKEN}&user=unknown", f"message={secret}"),
        ("POST /", f'{{"topic":"t","message":"{secret}"}}'),
    ):
        for fields in (
            (f"Authorization: Bearer {secret}",),
            (form_type, f"Cookie: {secret}"),
            (f"X-Title: {secret}\x01",),
        ):
            assert (await wire.request(line, *fields, body=body.encode())).status < 500
            wire = await process.wire()
    process.signal()
    assert await process.ended() == 0
    log = "\n".join(process.log)
    for kept in (secret, APP_TOKEN, TOPIC_KEY):
        assert kept not in log


ASKED = [
    ("GET /t/json?poll=1", 200),
    ("GET /t/json?since=nonsense", 400),
    ("GET /t/sse?poll=1&auth=nonsense", 401),
    ("GET /v1/health", 200),
    ("GET /nothing/of/the/kind", 404),
    ("POST /t", 200),
    ("POST /t?priority=9", 400),
    ("POST /", 400),
    ("DELETE /t/x", 200),
    ("POST /1/messages.json", 400),
    ("GET /1/messages.json", 400),
    ("DELETE /1/messages.json", 405),
    ("GET /1/nothing.json", 404),
    ("GET /1/sounds.json?token=" + APP_TOKEN, 200),
]


@pytest.mark.parametrize(("line", "status"), ASKED)
@pytest.mark.parametrize("lane", ["front", "aiohttp"])
async def test_a_browser_may_ask_from_anywhere_but_never_with_its_own_credentials(
    server: Server, line: str, status: int, lane: str
) -> None:
    wire = await server.wire()
    odd = ["TE: trailers"] if lane == "aiohttp" else []
    answer = await wire.request(line, "Origin: https://evil.example", "Cookie: session=1", *odd)
    assert answer.status == status
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/", "/t", "/t/json", "/t/x", "/v1/health", "/1/messages.json", "/1/sounds.json"]
)
async def test_a_preflight_allows_what_clients_send(server: Server, path: str) -> None:
    wire = await server.wire()
    answer = await wire.request(
        f"OPTIONS {path}",
        "Origin: https://app.example",
        "Access-Control-Request-Method: PUT",
        "Access-Control-Request-Headers: authorization,x-title",
    )
    assert answer.status in (200, 204)
    assert answer.headers["access-control-allow-origin"] == "*"
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert ("content-type" if path.startswith("/1/") else "authorization") in allowed
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert int(answer.headers["access-control-max-age"]) >= 600
    assert "access-control-allow-credentials" not in answer.headers


LIMITED = {
    "visitor_request_limit_exempt_hosts": [],
    "visitor_request_limit_burst": 3,
    "visitor_request_limit_replenish": "1h",
}
FORGED = [
    "X-Forwarded-For: 9.9.9.{0}",
    'Forwarded: for="[2001:db8:{0}::1]:4711"',
    "X-Real-IP: 9.9.9.{0}",
    "X-Forwarded-For: garbage {0}",
]


async def statuses(server: Server, requests: list[list[str]]) -> list[int]:
    wire = await server.wire()
    return [(await wire.request("POST /t", *fields)).status for fields in requests]


@pytest.mark.parametrize("header", FORGED)
async def test_without_a_proxy_no_header_changes_who_asks(start_server: StartServer, header: str) -> None:
    server = await start_server(**LIMITED)
    found = await statuses(server, [[header.format(number)] for number in range(5)])
    assert found == [200, 200, 200, 429, 429]


# What each of five requests says behind one proxy, whether in one line or in one that the proxy added
BEHIND_A_PROXY = [
    (["X-Forwarded-For: 9.9.9.{0}, 8.8.8.8"], 3),  # what stands further left is hearsay
    (["X-Forwarded-For: 9.9.9.{0}", "X-Forwarded-For: 8.8.8.8"], 3),
    (["X-Forwarded-For: 9.9.9.{0}, 8.8.8.8, 10.0.0.{0}"], 3),  # ours are passed over
    (["X-Forwarded-For: 9.9.9.{0}", "X-Forwarded-For: 8.8.8.8, 10.0.0.1"], 3),
    (["X-Forwarded-For: garbage{0}"], 3),  # no address: the peer's own
    (["X-Forwarded-For: "], 3),
    (["Forwarded: for=9.9.9.{0}"], 3),  # not the header that the proxy sets
    (["X-Forwarded-For: 9.9.9.{0}:4711"], 5),
    (["X-Forwarded-For: 8.8.8.8", "X-Forwarded-For: 9.9.9.{0}"], 5),
    (['X-Forwarded-For: for="[2001:db8:{0}::1%eth0]:4711"'], 5),
]


@pytest.mark.parametrize(("fields", "allowed"), BEHIND_A_PROXY)
async def test_behind_a_proxy_the_rightmost_address_that_is_not_ours_counts(
    start_server: StartServer, fields: list[str], allowed: int
) -> None:
    server = await start_server(**LIMITED, behind_proxy=True, proxy_trusted_hosts=["10.0.0.0/8"])
    found = await statuses(server, [[field.format(number) for field in fields] for number in range(5)])
    assert found == [200] * allowed + [429] * (5 - allowed)
