"""A small server on the same libraries that commits each message by itself, to compare group commit with.

It takes ntfy's publish (``POST /<topic>``) and Pushover's urlencoded form, writes one row and commits it with
``synchronous=FULL``, and then answers. It does nothing else. ``python -m bench.commit_each PORT FILE``.
"""

from __future__ import annotations

import secrets
import sys
import time

import aiosqlite
import orjson
from aiohttp import web

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]

_DATABASE = web.AppKey("database", aiosqlite.Connection)
_SCHEMA = """
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    expires INTEGER NOT NULL,
    line BLOB NOT NULL
);
CREATE INDEX by_topic ON messages (topic, seq);
"""


async def _store(request: web.Request, topic: str, content: dict[str, str]) -> bytes:
    now = int(time.time())
    message_id = secrets.token_hex(6)
    head = {"id": message_id, "time": now, "expires": now + 43200, "event": "message", "topic": topic}
    line = orjson.dumps({**head, **content})
    await request.app[
        _DATABASE
    ].execute(  # the connection is in autocommit mode: each statement is a transaction
        "INSERT INTO messages (id, topic, expires, line) VALUES (?, ?, ?, ?)",
        (message_id, topic, now + 43200, line),
    )
    return line


async def _publish(request: web.Request) -> web.Response:
    body = await request.read()
    content = {"title": request.headers.get("Title", ""), "message": body.decode("utf-8", "replace")}
    line = await _store(request, request.match_info["topic"], content)
    return web.Response(body=line, content_type="application/json")


async def _push(request: web.Request) -> web.Response:
    form = await request.post()
    await _store(request, str(form["user"]), {"title": str(form["title"]), "message": str(form["message"])})
    return web.Response(body=b'{"status":1,"request":"0"}', content_type="application/json")


async def _health(_: web.Request) -> web.Response:
    return web.Response(body=b'{"healthy":true}', content_type="application/json")


def main() -> None:
    """Serve until a signal comes."""
    port, path = int(sys.argv[1]), sys.argv[2]

    async def build() -> web.Application:
        database = await aiosqlite.connect(path, isolation_level=None)
        await database.execute("PRAGMA journal_mode=WAL")
        await database.execute("PRAGMA synchronous=FULL")
        await database.executescript(_SCHEMA)
        app = web.Application()
        app[_DATABASE] = database
        app.add_routes([web.get("/v1/health", _health), web.post("/1/messages.json", _push)])
        app.add_routes([web.post("/{topic}", _publish), web.put("/{topic}", _publish)])
        app.on_cleanup.append(_close)
        return app

    if uvloop is not None:
        uvloop.install()
    web.run_app(build(), host="127.0.0.1", port=port, access_log=None, print=lambda *_: None)


async def _close(app: web.Application) -> None:
    await app[_DATABASE].close()


if __name__ == "__main__":
    main()
