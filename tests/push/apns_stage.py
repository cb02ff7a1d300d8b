"""A server whose pushes go to fakes of Apple's service, and what can be asked of it from outside.

Of the app "app.example" there are a phone, which is phil's, and a watch, which is nobody's and gets the topic
"alerts"; so does a set of another app, "other.example", which has a fake of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from ntfyish.push.apns.pool import Times
from ntfyish.push.apns.sender import ApnsSender
from tests.clock import FakeClock
from tests.conftest import APP_TOKEN, USER_KEY, Server, StartServer
from tests.hardening.process import PEOPLE
from tests.push.apns_sending import app_for, device_token
from tests.push.apple_checks import KEY_ID, TEAM_ID
from tests.push.fake_apns import FakeApns, Recorded
from tests.push.stage import Stage

APP, OTHER = "app.example", "other.example"
PHONE, WATCH, SET = (device_token(number) for number in (1, 2, 3))
PHIL = {"Authorization": "Basic cGhpbDpzZWNyZXQ="}
# The clock of the event loop cannot be moved, so tests of long silence make all times shorter.
TEMPO = 10
QUICK = Times(**{one.name: getattr(Times(), one.name) / TEMPO for one in fields(Times)})


@dataclass(frozen=True)
class State:
    """Where a push is, as it is on disk."""

    state: str
    attempts: int = 0
    reason: str = ""


class AppleStage(Stage):
    """A running server, and the fakes that it pushes to.

    Attributes:
        apns: what the app's devices are reached by; other: the other app's.
    """

    def __init__(self, server: Server, apns: FakeApns, other: FakeApns) -> None:
        super().__init__(server, {})
        self.apns = apns
        self.other = other

    async def register(self, token: str = PHONE, bundle_id: str = APP, **fields: str) -> dict[str, Any]:
        """Register a device: phil's if it has a name."""
        form = {"kind": "apns", "device_token": token, "bundle_id": bundle_id} | fields
        headers = PHIL if "name" in fields else {}
        return await self._call("POST", "/1/devices.json", headers, data=form)

    async def register_all(self) -> None:
        """Register the three devices."""
        await self.register(name="phone")
        await self.register(WATCH, topics="alerts")
        await self.register(SET, OTHER, topics="alerts")

    async def devices(self) -> Sequence[str]:
        """Return the names of the devices that phil's app is told of, if a publisher is told of the same."""
        listed = (await self._call("GET", "/1/devices.json", PHIL))["devices"]
        form = {"token": APP_TOKEN, "user": USER_KEY}
        told = (await self._call("POST", "/1/users/validate.json", {}, data=form))["devices"]
        names = [str(one["name"]) for one in listed]
        assert [name for name in told if name != "stream"] == names
        return names

    async def deliveries(self, id: str) -> list[dict[str, Any]]:
        """Return what a publisher is told about its message."""
        path = f"/1/messages/{id}/deliveries.json?token={APP_TOKEN}"
        return list((await self._call("GET", path, {}))["deliveries"])

    async def metrics(self) -> Mapping[str, float]:
        """Return all figures: ``name{label values, in the order of the labels' names}`` -> value."""
        async with self.server.http.get(f"{self.server.url}/metrics") as response:
            families = text_string_to_metric_families(await response.text())
        samples = [sample for family in families for sample in family.samples]
        return {
            f"{one.name}{{{','.join(one.labels[label] for label in sorted(one.labels))}}}": one.value
            for one in samples
        }

    async def figures_are(self, **expected: float) -> None:
        """Check the figures of pushes that are not 0.

        Args:
            expected: a verdict, how often; ``ended_`` and a state, how many; ``waiting``, ``entered``,
                ``devices``, how many.
        """
        names = {
            "ntfyish_pushes_total": "",
            "ntfyish_push_results_total": "ended_",
            "ntfyish_push_queue_pending": "waiting",
            "ntfyish_pushes_entered_total": "entered",
            "ntfyish_push_devices": "devices",
        }
        found = {}
        for sample, value in (await self.metrics()).items():
            name, labels = sample[:-1].split("{")
            if name in names and value and labels.startswith("apns"):
                found[names[name] + labels.removeprefix("apns").strip(",")] = value
        assert found == expected

    async def paused(self) -> list[str]:
        """Return which destinations wait for the operator, and why, as the figures say."""
        name = "ntfyish_push_destinations_paused{"
        return [sample.removeprefix(name)[:-1] for sample in await self.metrics() if sample.startswith(name)]

    def states_of(self, token: str) -> list[State]:
        """Return where the pushes to a device are, in the order in which they were entered."""
        wanted = {PHONE: ("phone", f"apns:{APP}"), WATCH: ("", f"apns:{APP}"), SET: ("", f"apns:{OTHER}")}
        rows = self.rows("name, destination, state, attempts, reason")
        return [State(*row[2:]) for row in rows if row[:2] == wanted[token]]

    async def until_state(self, token: str, *expected: State) -> None:
        """Wait until the pushes to a device are where they should be."""
        try:
            await self.until(lambda: self.states_of(token) == list(expected))
        except TimeoutError:
            raise AssertionError(f"{self.states_of(token)} instead of {expected}") from None

    def requests(self, token: str) -> list[Recorded]:
        """Return what came for a device."""
        return [one for one in (*self.apns.requests, *self.other.requests) if one.device == token]

    def arrived_once(self, token: str, tries: int) -> None:
        """Check that one push was tried so often under the same ids, and was taken once."""
        requests = self.requests(token)
        assert len(requests) == tries
        assert len({one.headers["apns-id"] for one in requests}) == 1
        (collapse_id,) = {one.headers["apns-collapse-id"] for one in requests}
        assert (self.apns.delivered + self.other.delivered)[token, collapse_id] == 1

    async def _call(self, method: str, path: str, headers: Mapping[str, str], **body: Any) -> dict[str, Any]:
        http, url = self.server.http, self.server.url + path
        async with http.request(method, url, headers=dict(headers), **body) as response:
            assert response.status == 200, await response.text()
            return dict(await response.json())


def entry_for(apns: FakeApns, folder: Path, **changes: Any) -> dict[str, Any]:
    """Return an entry of the setting `apns` whose endpoint is the fake."""
    apns.write_files(folder)
    identity = {"key-file": str(folder / "AuthKey.p8"), "key-id": KEY_ID, "team-id": TEAM_ID}
    if apns.client_certificates:
        identity = {"certificate-file": str(folder / "client.pem")}
    return {
        "bundle-id": apns.bundle_id,
        "endpoint": f"localhost:{apns.port}",
        "ca-file": str(folder / "ca.pem"),
        **identity,
        **changes,
    }


class AppleStages:
    """Sets stages. What it starts ends after the server.

    Args:
        stack: is closed after the servers that `start_server` starts.
    """

    def __init__(self, stack: AsyncExitStack, start_server: StartServer, folder: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self._stack = stack
        self._start_server = start_server

    async def apple(self, bundle_id: str = APP, **options: Any) -> FakeApns:
        """Start a fake."""
        apns = FakeApns(now=self.clock.now, bundle_id=bundle_id, **options)
        return await self._stack.enter_async_context(apns)

    async def set(
        self,
        fake: FakeApns | None = None,
        other: FakeApns | None = None,
        *,
        times: Times | None = None,
        **settings: Any,
    ) -> AppleStage:
        """Start a server and, unless they are given, the fakes that it pushes to.

        Args:
            times: how long tries may take, if that is not to be what it is for everybody.
        """
        apns = fake or await self.apple()
        other = other or await self.apple(OTHER)
        apps = [entry_for(apns, self.folder / "app"), entry_for(other, self.folder / "other")]
        find_sender = None
        if times is not None:
            senders = {}
            for one in (apns, other):
                app = app_for(one, self.folder / one.bundle_id, bundle_id=one.bundle_id)
                sender = ApnsSender(app, self.clock, times=times)
                senders[app.destination] = await self._stack.enter_async_context(sender)
            find_sender = senders.get
        values = {**PEOPLE, "apns": apps, "enable_metrics": True, "shutdown_timeout": "0s", **settings}
        server = await self._start_server(clock=self.clock, find_sender=find_sender, **values)
        return AppleStage(server, apns, other)
