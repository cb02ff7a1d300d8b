"""The measures: what is done to a server, what is read off, and what the goals are.

A measure is a function of the bench and a server's name that returns the figures of one run. All servers
of a measure take turns in each round, each run with a server of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote_plus

from bench import cache, pushes, uploads
from bench.bench import Bench
from bench.figures import OURS, Figure, Goal, Sample
from bench.machine import MemoryWatch, on_core
from bench.servers import PUSHOVER_TOKEN, ROOT, Server

_WARM_SUBSCRIBERS = 200
_FLAT_MIB = 8
_ANOTHER_TOPIC = 1_000_000
_PUBLISH_CONNECTIONS = 32
_FORM = {"token": PUSHOVER_TOKEN, "user": "t%t", "title": "Backup finished", "priority": "1", "message": "%m"}
_BOUNDARY = "------------------------d74496d66958873e"

NTFY_FORM = [
    *("--pub-path", "/t%t", "--pub-header", "Title: Backup finished"),
    *("--pub-header", "Priority: 4", "--pub-header", "Tags: warning,disk"),
]
PUSHOVER_FORM = [
    *("--pub-path", "/1/messages.json", "--pub-header", "Content-Type: application/x-www-form-urlencoded"),
    *("--body", "&".join(f"{name}={quote_plus(text, safe='%')}" for name, text in _FORM.items())),
]
PUSHOVER_MULTIPART = [
    *("--pub-path", "/1/messages.json"),
    *("--pub-header", f"Content-Type: multipart/form-data; boundary={_BOUNDARY}", "--body"),
    "".join(
        rf'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in _FORM.items()
    )
    + rf"--{_BOUNDARY}--\r\n",
]


@dataclass(frozen=True)
class Measure:
    """One thing that is measured.

    Attributes:
        servers: who takes part, ntfyish first.
        take: one run; gets the server's name.
    """

    name: str
    title: str
    servers: tuple[str, ...]
    figures: tuple[Figure, ...]
    goals: tuple[Goal, ...]
    take: Callable[[Bench, str], Sample]


def _paced(bench: Bench) -> list[object]:
    scale = bench.scale
    return [
        "-S",
        scale.subscribers,
        "-K",
        4,
        "-R",
        scale.paced_per_s,
        "-M",
        scale.paced_messages,
        "--warmup",
        2,
    ]


def _fanout(bench: Bench, name: str) -> Sample:
    with bench.server(name) as server:
        found = bench.fan(server, *_paced(bench))
    return {
        "cpu": found["cpu_us_per_delivery"],
        "p99": found["delivery_p99_us"] / 1e3,
        "ack": found["ack_p99_us"] / 1e3,
        "bytes": found["bytes_per_delivery"],
    }


def _flood(bench: Bench, name: str) -> Sample:
    scale = bench.scale
    with bench.server(name) as server:
        found = bench.fan(
            server,
            "-S",
            scale.subscribers,
            "-K",
            8,
            "-M",
            scale.flood_messages,
            "--warmup",
            8,
            "--timeout",
            30,
        )
    return {
        "cpu": found["cpu_us_per_delivery"],
        "rate": found["deliveries_per_s"],
        "generator": found["generator_cpu_s"] / found["elapsed_s"] * 100,
    }


def _bystander(bench: Bench, name: str) -> Sample:
    scale = bench.scale
    publishes = int(97 * scale.paced_messages / scale.paced_per_s * 0.95)
    with bench.server(name) as server:
        crowd = bench.begin_fan(server, *_paced(bench), "--announce")
        try:
            crowd.await_publishing()
            # 97 a second, so that the moments drift against those of the 4 a second.
            arguments = ["-S", 0, "-K", 16, "-R", 97, "-M", publishes, "--topic-base", _ANOTHER_TOPIC]
            bystander = bench.begin_fan(server, *arguments, favoured=True)
            found = bench.finish(bystander)
            bench.finish(crowd)
        finally:
            crowd.end()
    return {"ack": found["ack_p99_us"] / 1e3, "typical": found["ack_p50_us"] / 1e3}


_STREAMS: dict[str, list[str]] = {
    "json": ["--sub-path", "/t%t/json", "--open-mark", '"open"'],
    "sse": ["--sub-path", "/t%t/sse", "--open-mark", '"open"'],
    "raw": ["--sub-path", "/t%t/raw"],
    "ws": ["--sub-path", "/t%t/ws", "--open-mark", '"open"', "--ws"],
}


def _formats(bench: Bench, name: str) -> Sample:
    figures = {}
    scale = bench.scale
    for kind, subscribe in _STREAMS.items():
        with bench.server(name) as server:
            arguments = ["-S", scale.subscribers, "-K", 4, "-R", scale.paced_per_s, "-M", 12, "--warmup", 2]
            figures[kind] = bench.fan(server, *arguments, subscribe=subscribe)["cpu_us_per_delivery"]
    return figures


def _memory(bench: Bench, name: str) -> Sample:
    figures = {}
    for kind, subscribe in _STREAMS.items():
        with bench.server(name) as server:
            # What the first subscribers cost once and for all is no cost of a subscriber. They leave again;
            # the pages they may have left behind are not counted as free for the others.
            bench.fan(server, "-S", _WARM_SUBSCRIBERS, "-M", 0, subscribe=subscribe)
            time.sleep(0.5)
            found = bench.fan(
                server, "-S", bench.scale.subscribers, "-M", 0, "--settle-ms", 1500, subscribe=subscribe
            )
        grown = found["rss_settled_kib"] - found["rss_before_kib"]
        figures[kind] = grown / (bench.scale.subscribers - _WARM_SUBSCRIBERS)
    return figures


def _publish(bench: Bench, name: str) -> Sample:
    figures = {}
    messages = bench.scale.publishes if name == OURS else bench.scale.commit_each_publishes
    for form, publish in (("ntfy", NTFY_FORM), ("pushover", PUSHOVER_FORM)):
        with bench.server(name) as server:
            found = _publish_only(bench, server, messages, publish)
            server.kill()  # what was acknowledged must be in the file, however the server ends
            stored = cache.count(server.data) if server.data else messages
        if stored < found["acks"]:
            bench.fault(f"{form}: {found['acks']:g} messages acknowledged, {stored} stored")
        figures[form] = found["acks_per_s"]
        figures[f"{form}_cpu"] = found["cpu_us_per_publish"]
        figures[f"{form}_ack"] = found["ack_p99_us"] / 1e3
    return figures


def _publish_only(bench: Bench, server: Server, messages: int, publish: list[str]) -> Sample:
    arguments = [
        "-S",
        0,
        "-T",
        100,
        "-K",
        _PUBLISH_CONNECTIONS,
        "-M",
        messages,
        "--warmup",
        max(messages // 10, 100),
    ]
    return bench.fan(server, *arguments, "--drain", publish=publish)


def _multipart(bench: Bench, name: str) -> Sample:
    messages = bench.scale.publishes // 2
    with bench.server(name) as server:
        plain = _publish_only(bench, server, messages, PUSHOVER_FORM)["cpu_us_per_publish"]
        multipart = _publish_only(bench, server, messages, PUSHOVER_MULTIPART)["cpu_us_per_publish"]
    return {"urlencoded": plain, "multipart": multipart, "ratio": multipart / plain}


def _topics(bench: Bench, name: str) -> Sample:
    many = bench.scale.subscribers
    with bench.server(name) as server:
        arguments = ["-S", many, "-T", many, "-M", many * 2, "--warmup", 500]
        found = bench.fan(server, *arguments, "-K", _PUBLISH_CONNECTIONS)
        few = bench.fan(server, *arguments, "-K", 8)
    return {
        "cpu": found["cpu_us_per_publish"],
        "few": few["cpu_us_per_publish"],
        "rate": found["acks_per_s"],
        "memory": (found["rss_settled_kib"] - found["rss_before_kib"]) / many,
    }


def _replay(bench: Bench, name: str) -> Sample:
    lines, replays = bench.scale.cached, bench.scale.replays
    data, _ = bench.filled("replay", {"t0": lines})
    path = "/t0/json?poll=1&since=all"
    with bench.server(name, data) as server:
        bench.finish(bench.begin_replay(server, path, lines, 2))
        with MemoryWatch(server.pid) as memory:
            alone = bench.finish(bench.begin_replay(server, path, lines, replays))
            # Publishing goes on somewhat longer than the replays that were just seen to take so long.
            publishes = max(int(200 * alone["elapsed_s"] * 1.2), 100)
            repeat = max(int(replays * 1.3), replays + 1)
            reader = bench.begin_replay(server, path, lines, repeat)
            arguments = ["-S", 0, "-K", 16, "-R", 200, "-M", publishes, "--topic-base", _ANOTHER_TOPIC]
            published = bench.finish(bench.begin_fan(server, *arguments, favoured=True))
            bench.finish(reader)
    return {
        "rate": alone["lines_per_s"],
        "cpu": alone["cpu_us_per_line"],
        "growth": memory.growth_mib,
        "ack": published["ack_p99_us"] / 1e3,
    }


def _storm(bench: Bench, name: str) -> Sample:
    rows = max(bench.scale.cached // 10, 10)
    if name == OURS:
        filled, last = bench.filled("storm", {"t0": rows})
        data = bench.copy(filled)
        # Each has missed two messages; it counts as back when it has the second of them.
        subscribe = [
            "--sub-path",
            f"/t%t/json?since={last['t0'][0]}",
            "--open-mark",
            cache.row_text(rows - 1).strip("x"),
        ]
    else:
        data, subscribe = None, None
    with bench.server(name, data) as server:
        found = bench.fan(server, "-S", bench.scale.subscribers, "-K", 1, "-M", 2, subscribe=subscribe)
    return {
        "rate": found["connects_per_s"],
        "cpu": found["cpu_us_per_connect"],
        "p99": found["connect_p99_us"] / 1e3,
    }


def _filter(bench: Bench, name: str) -> Sample:
    messages, many = 100, bench.scale.subscribers
    pace = ["-K", 4, "-R", 50, "-M", messages, "--warmup", 10, "--drain"]
    figures = {}
    for kind, query in (("shared", "title=nothing"), ("distinct", "title=nothing+%i")):
        subscribe = ["--sub-path", f"/t%t/json?{query}", "--open-mark", '"open"']
        with bench.server(name) as server:
            nobody = bench.fan(server, "-S", 0, *pace)
            everybody = bench.fan(server, "-S", many, "--refused", *pace, subscribe=subscribe)
        figures[kind] = (everybody["cpu_s"] - nobody["cpu_s"]) * 1e6 / (messages * many)
    return figures


def _access(bench: Bench, name: str) -> Sample:
    with on_core(bench.cores.server):
        done = subprocess.run(
            [sys.executable, "-m", "bench.admission"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    if done.returncode:
        bench.fault(f"bench.admission failed: {done.stderr.strip().rpartition(chr(10))[2]}")
        return {}
    return {figure: float(value) for figure, value in json.loads(done.stdout).items()}


def _receipts(bench: Bench, name: str) -> Sample:
    with on_core(bench.cores.server):
        done = subprocess.run(
            [sys.executable, "-m", "bench.emergencies"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    if done.returncode:
        bench.fault(f"bench.emergencies failed: {done.stderr.strip().rpartition(chr(10))[2]}")
        return {}
    return {figure: float(value) for figure, value in json.loads(done.stdout).items()}


def _startup(bench: Bench, name: str) -> Sample:
    stored = bench.scale.stored
    counts = {"t0": stored // 10, **{f"t{i}": 90 for i in range(1, stored // 100 + 1)}}
    data, _ = bench.filled("startup", counts)
    with bench.server(name, data) as server:
        begun = time.perf_counter()
        status, body = server.get("/t7/json?poll=1&since=all")
        polled_s = time.perf_counter() - begun
    if status != 200 or body.count(cache.NUMBER_MARK.encode()) != 90:
        bench.fault(
            f"the first poll got {status} and {body.count(cache.NUMBER_MARK.encode())} of 90 messages"
        )
    return {"answer": server.start_s, "poll": server.start_s + polled_s}


_CPU = Figure("cpu", "CPU per delivery", "us")

MEASURES = (
    Measure(
        "fanout",
        "{subscribers:,} subscribers of one topic, 4 messages/s",
        (OURS, "nchan", "send"),
        (
            _CPU,
            Figure("p99", "delivery p99", "ms"),
            Figure("ack", "publish ack p99, same topic", "ms"),
            Figure("bytes", "bytes per delivery", "B"),
        ),
        (
            Goal("cpu", 1.0, peer="nchan"),
            Goal("cpu", 1.3, peer="send"),
            Goal("p99", 1.0, peer="nchan"),
            Goal("ack", 0.15, peer="nchan"),
        ),
        _fanout,
    ),
    Measure(
        "flood",
        "{subscribers:,} subscribers of one topic, 8 publishers flat out",
        (OURS, "nchan", "send"),
        (_CPU, Figure("rate", "deliveries", "/s"), Figure("generator", "generator busy", "%")),
        (Goal("cpu", 0.3, peer="nchan"), Goal("rate", 4, at_least=True, peer="nchan")),
        _flood,
    ),
    Measure(
        "bystander",
        "another topic, while {subscribers:,} subscribers get 4 messages/s",
        (OURS, "nchan"),
        (Figure("ack", "publish ack p99, other topic", "ms"), Figure("typical", "publish ack p50", "ms")),
        (Goal("ack", 0.15, peer="nchan"),),
        _bystander,
    ),
    Measure(
        "formats",
        "the same by format of the stream, 4 messages/s",
        (OURS,),
        tuple(Figure(kind, f"CPU per delivery, {kind}", "us") for kind in _STREAMS),
        (),
        _formats,
    ),
    Measure(
        "memory",
        "resident memory per idle subscriber, {subscribers:,} of them",
        (OURS,),
        tuple(Figure(kind, kind, "KiB") for kind in _STREAMS),
        tuple(Goal(kind, 3 if kind == "ws" else 2) for kind in _STREAMS),
        _memory,
    ),
    Measure(
        "publish",
        "durable publishes, 32 connections, no subscribers",
        (OURS, "commit-each"),
        tuple(
            Figure(f"{form}{suffix}", f"{form}: {text}", unit)
            for form in ("ntfy", "pushover")
            for suffix, text, unit in (
                ("", "publishes", "/s"),
                ("_cpu", "CPU", "us"),
                ("_ack", "ack p99", "ms"),
            )
        ),
        tuple(
            goal
            for form in ("ntfy", "pushover")
            for goal in (Goal(form, 9000, at_least=True), Goal(form, 3, at_least=True, peer="commit-each"))
        ),
        _publish,
    ),
    Measure(
        "multipart",
        "Pushover's multipart form beside its urlencoded form",
        (OURS,),
        (
            Figure("urlencoded", "CPU, urlencoded", "us"),
            Figure("multipart", "CPU, multipart", "us"),
            Figure("ratio", "multipart / urlencoded", "x"),
        ),
        (Goal("ratio", 1.5),),
        _multipart,
    ),
    Measure(
        "topics",
        "{subscribers:,} topics with one subscriber each, 32 connections publish",
        (OURS, "nchan", "send"),
        (
            Figure("cpu", "CPU per publish and delivery", "us"),
            Figure("few", "the same with 8 connections", "us"),
            Figure("rate", "publishes", "/s"),
            Figure("memory", "memory per topic and subscriber", "KiB"),
        ),
        (Goal("cpu", 5, peer="nchan"),),
        _topics,
    ),
    Measure(
        "replay",
        "replay of {cached:,} cached messages by poll=1",
        (OURS,),
        (
            Figure("rate", "messages", "/s"),
            Figure("cpu", "CPU per message", "us"),
            Figure("growth", "growth of memory", "MiB"),
            Figure("ack", "publish ack p99 meanwhile", "ms"),
        ),
        (Goal("rate", 500_000, at_least=True), Goal("growth", _FLAT_MIB), Goal("ack", 10)),
        _replay,
    ),
    Measure(
        "storm",
        "{subscribers:,} subscribers reconnect, each with since=<id>",
        (OURS, "nchan"),
        (
            Figure("rate", "new subscribers", "/s"),
            Figure("cpu", "CPU per subscriber", "us"),
            Figure("p99", "connect p99", "ms"),
        ),
        (Goal("rate", 6000, at_least=True),),
        _storm,
    ),
    Measure(
        "filter",
        "{subscribers:,} subscribers whose filter refuses every message",
        (OURS,),
        (
            Figure("shared", "CPU per refusal, one filter for all", "us"),
            Figure("distinct", "CPU per refusal, each its own filter", "us"),
        ),
        (Goal("shared", 1.0), Goal("distinct", 1.0)),
        _filter,
    ),
    Measure(
        "access",
        "letting publishers in, with 10,000 accounts and 50,000 access entries",
        (OURS,),
        (
            Figure("publish", "CPU of login by token, limits and access, per publish", "us"),
            Figure("nobody", "the same without login", "us"),
            Figure("cached", "CPU of a decision, known principal and topic", "us"),
            Figure("uncached", "CPU of a decision, new topic", "us"),
            Figure("logins_lag", "greatest lag of the loop, 50 password logins at once", "ms"),
            Figure("logins", "these logins", "s"),
            Figure("change_lag", "greatest lag of the loop, people change", "ms"),
            Figure("change", "a change by another process takes effect, once noticed", "s"),
        ),
        (Goal("publish", 10), Goal("cached", 2), Goal("logins_lag", 100), Goal("change", 0.5)),
        _access,
    ),
    Measure(
        "receipts",
        "100,000 pending emergencies, 1,000 of them due in the same second, while others publish",
        (OURS,),
        (
            Figure("restart", "the start until the first answer", "s"),
            Figure("repeat", "all that are due have reached a reader, once due", "s"),
            Figure("published", "messages that others published meanwhile", ""),
            Figure("publish_p99", "the slowest hundredth of these took", "ms"),
        ),
        (Goal("restart", 2), Goal("repeat", 1)),
        _receipts,
    ),
    Measure(
        "attachments",
        "files of 15 MiB, one after the other, beside copying them on the same disk",
        (OURS,),
        (
            Figure("copy", "copied", "MiB/s"),
            Figure("upload", "uploaded", "MiB/s"),
            Figure("download", "downloaded", "MiB/s"),
            Figure("upload_share", "upload, of the speed of copying", "x"),
            Figure("download_share", "download, of the speed of copying", "x"),
            Figure("grown", "memory of the server, most above the beginning", "MiB"),
        ),
        (
            Goal("upload_share", 0.5, at_least=True),
            Goal("download_share", 0.5, at_least=True),
            Goal("grown", _FLAT_MIB),
        ),
        uploads.take,
    ),
    Measure(
        "pushes",
        "one message to {devices:,} devices through a fake of Apple's service that answers after 50 ms",
        (OURS, "sender", "aioapns"),
        (
            Figure("rate", "pushes, from the request to the last one's arrival", "/s"),
            Figure("connections", "connections", ""),
            Figure("under_way", "most under way at once", ""),
            Figure("cpu", "CPU per push", "us"),
            Figure("apple", "the fake is busy", "%"),
            Figure("ahead", "the first push after the ack of the publish", "ms"),
            Figure("growth", "growth of memory", "MiB"),
            Figure("ack_with", "publish ack p50, to all devices", "ms"),
            Figure("ack_without", "publish ack p50, to no device", "ms"),
            Figure("ack_ratio", "publish ack p50, to all / to no device", "x"),
            Figure("slow_ack_with", "publish ack p90, to all devices", "ms"),
            Figure("slow_ack_without", "publish ack p90, to no device", "ms"),
            Figure("slow_ack_ratio", "publish ack p90, to all / to no device", "x"),
            Figure("idle_ack", "publish ack p99, other topic, nothing is pushed", "ms"),
            Figure("busy_ack", "the same while all devices are pushed to", "ms"),
            Figure("resumed", "an outage: the first push, once it is over", "s"),
            Figure("caught_up", "an outage: the last push of 6 messages", "s"),
            Figure("lost", "an outage: lost", ""),
            Figure("doubled", "an outage: delivered twice", ""),
            Figure("crash_caught_up", "killed amidst: the last push, from the kill", "s"),
            Figure("crash_lost", "killed amidst: lost", ""),
            Figure("crash_doubled", "killed amidst: delivered twice, with the same apns-id", ""),
        ),
        (
            Goal("rate", 2000, at_least=True),
            Goal("connections", 4),
            Goal("ahead", 0, at_least=True),
            Goal("ack_ratio", 1.25),
            Goal("slow_ack_ratio", 1.5),
            Goal("lost", 0),
            Goal("doubled", 0),
            Goal("crash_lost", 0),
        ),
        pushes.take,
    ),
    Measure(
        "startup",
        "start-up with {stored:,} cached messages",
        (OURS,),
        (
            Figure("answer", "to the first answer", "s"),
            Figure("poll", "to the first poll of 90 messages", "s"),
        ),
        (Goal("answer", 1.5),),
        _startup,
    ),
)
