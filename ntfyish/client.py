"""A small client for ntfyish (and ntfy): publish, and subscribe without loss across broken connections.

Used by the command line and by whoever writes Python. It speaks ntfy's dialect: JSON to ``/`` to publish
(so that no text has to fit into a header), ``/<topics>/json`` to subscribe. It keeps nothing on disk: to go
on after a restart, pass the id of the last message as `since`.

    async with Client("http://127.0.0.1:8080", token="tk_...") as client:
        await client.publish("alerts", "Disk full", priority=4)
        async for message in client.subscribe("alerts", since="10m"):
            print(message["topic"], message["message"])
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, cast

import aiohttp
import orjson

from ntfyish.address import authorization, one_line, split_base_url
from ntfyish.core.clock import SystemClock
from ntfyish.core.ports import Clock
from ntfyish.core.tasks import Tasks
from ntfyish.model.retry_after import parse_retry_after
from ntfyish.model.topic import TOPIC_LIST_PATTERN, TOPIC_PATTERN
from ntfyish.resume import Cursor, MessageJson, parse_event

_log = logging.getLogger(__name__)

T = TypeVar("T")

Messages = AsyncGenerator[MessageJson, None]

ANSWER_TIMEOUT_S = 30.0
READ_TIMEOUT_S = 77.0  # as ntfy's apps: longer than one lost keepalive (45 s), shorter than two
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
LONGEST_RETRY_AFTER_S = 3600.0
LONGEST_LINE_BYTES = 16 * 1024 * 1024

_TRY_AGAIN = frozenset({408, 425, 429})


class ClientError(Exception):
    """What the client could not do; `str()` of it is one printable line."""


class Refused(ClientError):
    """The server said no; the same request will not work later either.

    Attributes:
        status: HTTP status.
        code: ntfy's error code, or 0 if there was none.
    """

    def __init__(self, text: str, *, status: int = 0, code: int = 0) -> None:
        super().__init__(one_line(text))
        self.status = status
        self.code = code


class Unreachable(ClientError):
    """There is no connection, or the server cannot serve the request now (408, 425, 429, 5xx).

    Attributes:
        retry_after_s: what the server asks to wait for, in seconds; 0 if it did not say.
    """

    def __init__(self, text: str, *, retry_after_s: float = 0) -> None:
        super().__init__(one_line(text))
        self.retry_after_s = retry_after_s


class Client:
    """Talks to one server. Use it as an async context manager; its calls may run side by side.

    Args:
        base_url: ``http(s)://[user:password@]host[:port][/path]``.
        token: access token, sent as Bearer; excludes `user`.
        user: name for Basic authentication, with `password`.
        clock: where time comes from.
        chance: returns a number from 0 up to 1, for the jitter of pauses.

    Raises:
        ValueError: `base_url` is no such URL, or the credentials contradict each other.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str = "",
        user: str = "",
        password: str = "",
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._base_url, url_user, url_password = split_base_url(base_url)
        if not token and not user:
            user, password = url_user, url_password
        self._headers = {"User-Agent": "ntfyish", **authorization(token, user, password)}
        self._clock = clock or SystemClock()
        self._chance = chance
        self._tasks = Tasks()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        # aiohttp's own timeouts do not run on our clock: they are off, and every wait has one of ours.
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=aiohttp.ClientTimeout(total=None, sock_connect=None)
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._tasks.drain(0)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def publish(
        self,
        topic: str,
        message: str = "",
        *,
        title: str = "",
        priority: int = 0,
        tags: Sequence[str] = (),
        click: str = "",
        icon: str = "",
        attach: str = "",
        actions: str | Sequence[Mapping[str, Any]] = (),
        delay: str = "",
        markdown: bool = False,
        cache: bool = True,
        sequence_id: str = "",
    ) -> MessageJson:
        """Publish once, without a second try, and return the message that the server made of it.

        Args:
            topic: name of the topic, or a user key.
            message: "" lets the server choose a text.
            priority: 1 to 5; 0 leaves it to the server.
            actions: buttons, as objects or in ntfy's short form (``view, Open, https://...``).
            delay: when to deliver: a duration, Unix seconds, or what else the server understands.
            cache: False: only for those who listen now.
            sequence_id: messages with the same one replace each other.

        Raises:
            ValueError: `topic` is no topic name, a text is no Unicode, or `actions` is broken JSON.
            Refused: the server does not want it.
            Unreachable: it is not known whether it was published, or the server is too busy.
        """
        if TOPIC_PATTERN.fullmatch(topic) is None:
            raise ValueError(f"{one_line(topic)!r} is not a topic name")
        params: dict[str, str] = {}
        if isinstance(actions, str):
            if actions.lstrip().startswith("["):
                actions = cast("list[dict[str, Any]]", orjson.loads(actions))
            elif actions:
                params["actions"] = actions  # JSON has no place for the short form; the query has
                actions = ()
        body = {
            "topic": topic,
            "message": message,
            "title": title,
            "priority": priority,
            "tags": list(tags),
            "click": click,
            "icon": icon,
            "attach": attach,
            "actions": actions,
            "delay": delay,
            "markdown": markdown,
            "cache": "" if cache else "no",
            "sequence_id": sequence_id,
        }
        try:
            data = orjson.dumps({name: value for name, value in body.items() if value})
        except TypeError as error:  # such as half a surrogate pair: bytes of a command line that are no UTF-8
            raise ValueError(f"the message is not valid: {error}") from None
        return await self._within(self._post(data, params), ANSWER_TIMEOUT_S)

    def subscribe(
        self,
        topics: str | Sequence[str],
        *,
        since: str = "",
        scheduled: bool = False,
        filters: Mapping[str, str] | None = None,
        poll: bool = False,
    ) -> Messages:
        """Return the messages of `topics`, in the server's order, each once, for as long as you ask.

        A connection that breaks, or is silent for 77 s, is opened again after a pause of 1 s that doubles up
        to 30 s; what was published meanwhile is fetched first. From the moment the server has first
        answered, nothing is lost that the server still keeps. Messages that are not cached
        (``cache=no``) cannot be fetched later.

        Args:
            topics: one or more topics, as a list or separated by commas.
            since: where to begin: a message id, Unix seconds, a duration, "all", "latest"; "" for now.
            scheduled: begin with what is pending, too (it is returned once more when it is due).
            filters: any of id, message, title, priority, tags, as in ntfy's subscribe API.
            poll: return what is cached (since `since`, or all), and end. Not resumed: it raises Unreachable.

        Raises:
            ValueError: (at once) `topics` or `filters` is not valid.
            Refused: (while iterating) the server does not want it; 4xx but 408, 425 and 429.
            Unreachable: (while iterating) only with `poll`.
        """
        topic_text = topics if isinstance(topics, str) else ",".join(topics)
        if TOPIC_LIST_PATTERN.fullmatch(topic_text) is None:
            raise ValueError(f"{one_line(topic_text)!r} is not a list of topics")
        params = dict(filters or {})
        if unknown := params.keys() - {"id", "message", "title", "priority", "tags"}:
            raise ValueError(f"there is no filter {one_line(min(unknown))!r}")
        if scheduled:
            params["scheduled"] = "1"
        if poll:
            params["poll"] = "1"
        cursor = Cursor(asked=since, scheduled=scheduled)
        url = f"{self._base_url}/{topic_text}/json"
        return self._poll(url, params, cursor) if poll else self._follow(url, params, cursor)

    async def _poll(self, url: str, params: dict[str, str], cursor: Cursor) -> Messages:
        async with aclosing(self._events(url, params, cursor)) as events:
            async for event in events:
                if cursor.accepts(event, self._clock.monotonic()):
                    yield event

    async def _follow(self, url: str, params: dict[str, str], cursor: Cursor) -> Messages:
        failures = 0
        while True:
            trouble = Unreachable("the server ended the stream")
            try:
                async with aclosing(self._events(url, params, cursor)) as events:
                    async for event in events:
                        failures = 0
                        if cursor.accepts(event, self._clock.monotonic()):
                            yield event
            except Unreachable as error:
                trouble = error
            pause_s = self._pause_s(failures, trouble.retry_after_s)
            failures += 1
            _log.warning("%s; trying again in %.1f s", trouble, pause_s)
            await self._clock.sleep(pause_s)

    def _pause_s(self, failures: int, retry_after_s: float) -> float:
        # The jitter keeps the subscribers of a restarted server from coming back all at once.
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 10)) * (0.5 + self._chance() / 2)
        if retry_after_s:
            pause_s = max(pause_s, min(retry_after_s, LONGEST_RETRY_AFTER_S) + self._chance())
        return pause_s

    async def _events(self, url: str, params: dict[str, str], cursor: Cursor) -> Messages:
        """Yield everything that one connection brings, open and keepalive events too."""
        since = cursor.since(self._clock.monotonic())
        if since:
            params = params | {"since": since}
        opened: list[aiohttp.ClientResponse] = []
        try:
            await self._within(self._open(url, params, opened), ANSWER_TIMEOUT_S)
            rest = b""
            while chunk := await self._within(self._read(opened[0]), READ_TIMEOUT_S):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if (event := parse_event(line)) is not None:
                        yield event
                if len(rest) > LONGEST_LINE_BYTES:
                    raise Refused("the server sends a line without end")
        finally:
            for response in opened:
                response.close()

    async def _open(self, url: str, params: dict[str, str], opened: list[aiohttp.ClientResponse]) -> None:
        try:
            response = await self._connected().get(
                url, params=params, headers={"Accept-Encoding": "identity"}, allow_redirects=False
            )
            opened.append(response)
            if response.status != 200:
                raise self._failure(response, await _read_at_most(response, 65536))
        except aiohttp.ClientError as error:
            raise _unreachable(error) from error
        except OSError as error:
            raise _unreachable(error) from error
        if response.content_type not in ("application/x-ndjson", "application/json"):
            # A portal or a proxy's error page that says 200: not our server, and not for ever.
            raise Unreachable(f"the answer is {response.content_type}, not a stream of messages")

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(error) from error

    async def _post(self, body: bytes, params: dict[str, str]) -> MessageJson:
        try:
            async with self._connected().post(
                f"{self._base_url}/",
                data=body,
                params=params,
                headers={"Content-Type": "application/json"},
                allow_redirects=False,  # a redirected POST becomes a GET, and publishes nothing
            ) as response:
                answer = await _read_at_most(response, LONGEST_LINE_BYTES)
                if response.status != 200:
                    raise self._failure(response, answer)
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(error) from error
        message = parse_event(answer)
        if message is None:
            raise Refused("the answer is not a message; is this an ntfyish or ntfy server?", status=200)
        return message

    def _failure(self, response: aiohttp.ClientResponse, body: bytes) -> ClientError:
        status, code, text = response.status, 0, response.reason or ""
        try:
            said = orjson.loads(body)
        except ValueError:
            said = None
        if isinstance(said, dict):
            code = said["code"] if isinstance(said.get("code"), int) else 0
            text = str(said.get("error") or text)
        if 300 <= status < 400:
            text = f"redirected to {response.headers.get('Location', 'nowhere')}; use that address"
        text = f"{text} (HTTP {status}{f', code {code}' if code else ''})"
        if status in _TRY_AGAIN or status >= 500:
            asked = response.headers.get("Retry-After", "")
            return Unreachable(text, retry_after_s=parse_retry_after(asked, self._clock.now()))
        return Refused(text, status=status, code=code)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("Client is used outside of its context")
        return self._session

    async def _within(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Return what `work` returns; raise Unreachable if that takes longer than `seconds` of our clock."""
        task = self._tasks.start(work, "client: wait for the server")
        timer = self._tasks.start(self._clock.sleep(seconds), "client: timeout")
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Unreachable(f"nothing heard from the server for {seconds:.0f} s")
            return task.result()
        finally:
            task.cancel()
            timer.cancel()
            await asyncio.wait({task, timer})


async def _read_at_most(response: aiohttp.ClientResponse, limit: int) -> bytes:
    parts: list[bytes] = []
    size_bytes = 0
    while size_bytes < limit and (chunk := await response.content.readany()):
        parts.append(chunk)
        size_bytes += len(chunk)
    return b"".join(parts)


def _unreachable(error: Exception) -> Unreachable:
    if isinstance(error, aiohttp.ClientPayloadError):
        return Unreachable("the connection broke")
    return Unreachable(str(error) or type(error).__name__)
