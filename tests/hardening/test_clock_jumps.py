"""The wall clock is set while the server runs: order, history and schedules do not care."""

from __future__ import annotations

import pytest

from tests.conftest import Server, StartServer

NOW = 1_700_000_000
HOUR_S = 3600


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S])
async def test_the_order_of_messages_survives_a_jump(start_server: StartServer, jump_s: int) -> None:
    server = await start_server()
    stream = await server.wire()
    stream.send_request("GET /a,b/json")
    await stream.head()
    await stream.json_line()
    sent = [await server.publish("a", "before")]
    server.clock.set_wall(NOW + jump_s)
    sent += [await server.publish(topic, topic) for topic in "abab"]
    server.clock.set_wall(NOW + 10)
    sent.append(await server.publish("b", "after"))
    assert [await stream.json_line() for _ in sent] == sent
    for place, message in enumerate(sent):
        assert await server.poll("a,b", f"since={message['id']}") == sent[place + 1 :]
    # A time is the moment since which a message can be seen, and that never goes back.
    assert await server.poll("a,b", f"since={NOW}") == sent


async def test_an_hour_forth_expires_nothing_that_has_longer(start_server: StartServer) -> None:
    server = await start_server(cache_duration="12h", manager_interval="1m")
    sent = [await server.publish("t", str(number)) for number in range(3)]
    server.clock.set_wall(NOW + HOUR_S)
    await server.clock.advance(120)
    assert await server.poll("t", "since=all") == sent
    server.clock.set_wall(NOW)
    await server.clock.advance(120)
    assert await server.poll("t", "since=all") == sent


@pytest.mark.parametrize(
    "jumps_s", [[HOUR_S], [HOUR_S, -HOUR_S], [-HOUR_S, 2 * HOUR_S], [HOUR_S, -HOUR_S, HOUR_S]]
)
async def test_a_scheduled_message_is_delivered_once_however_the_clock_jumps(
    server: Server, jumps_s: list[int]
) -> None:
    stream = await server.wire()
    stream.send_request("GET /t/json")
    await stream.head()
    await stream.json_line()
    later = await server.publish("t", "later", Delay="30m")
    for jump_s in jumps_s:
        server.clock.set_wall(server.clock.now() + jump_s)
        await server.clock.advance(15)
    while (event := await stream.json_line())["event"] == "keepalive":
        pass
    assert event == later
    await server.clock.advance(HOUR_S)
    assert await server.poll("t", f"since={NOW - HOUR_S}") == [later]
    server.running.streams.abort_all()
    assert later["id"].encode() not in await stream.at_end()


async def test_a_scheduled_message_waits_for_the_wall_clock_when_that_is_put_back(server: Server) -> None:
    stream = await server.wire()
    stream.send_request("GET /t/raw")
    await stream.head()
    await server.publish("t", "later", Delay="10m")
    server.clock.set_wall(NOW - 600)
    await server.clock.advance(1100)
    assert await server.poll("t") == []
    await server.clock.advance(120)
    while not (line := await stream.line()):  # open and keepalives
        pass
    assert line == b"later"


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S])
async def test_keepalives_and_timeouts_do_not_look_at_the_wall_clock(server: Server, jump_s: int) -> None:
    stream, idle = await server.wire(), await server.wire()
    stream.send_request("GET /t/json")
    await stream.head()
    await stream.json_line()
    assert (await idle.request("POST /other")).status == 200
    server.clock.set_wall(NOW + jump_s)
    await server.clock.advance(40)
    assert not await server.poll("t")  # nothing has come meanwhile
    await server.clock.advance(10)
    keepalive = await stream.json_line()
    assert (keepalive["event"], keepalive["time"]) == ("keepalive", NOW + jump_s + 45)
    assert (await idle.request("POST /other")).status == 200
