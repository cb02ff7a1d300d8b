"""The description of the API against the server that it describes, and the container file."""

from __future__ import annotations

import base64
import http.client
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from ntfyish.web.params import NAMES
from tests.examples.conftest import APP_TOKEN, USER_KEY, LiveServer

ROOT = Path(__file__).parents[2]
METHODS = ("get", "put", "post", "patch", "delete")
JSON_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "null": type(None),
}


class StrictLoader(yaml.SafeLoader):
    """Refuses what YAML leaves undefined: the same key twice."""


def _unique(loader: StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [key.value for key, _ in node.value]
    assert len(keys) == len(set(keys)), f"keys twice, {node.start_mark}: {keys}"
    return loader.construct_mapping(node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique)
API: dict[str, Any] = yaml.load((ROOT / "docs/openapi.yaml").read_text(), StrictLoader)
OPERATIONS = [(method, path) for path, item in API["paths"].items() for method in METHODS if method in item]
# Whoever knows these addresses may use them.
OPEN = ("/1/receipts/{receipt}/ack/", "/subscribe/", "/sounds/")
# Of Pushover's API, these look at Authorization.
LOGGED_IN = {
    ("get", "/1/devices.json"),
    ("delete", "/1/devices/{device_id}.json"),
    ("post", "/1/devices/{device_id}/delete.json"),
}
SERVICES = [item for item in OPERATIONS if item[1].startswith("/v1/")]


def resolve(item: Any) -> Any:
    if isinstance(item, dict) and "$ref" in item:
        target: Any = API
        for step in item["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return resolve(target)
    return item


def faults(value: Any, schema: Any, where: str = "$") -> Iterator[str]:
    """Yield where `value` breaks `schema`; knows the part of JSON Schema that the description uses."""
    schema = resolve(schema)
    for part in schema.get("allOf", ()):
        yield from faults(value, part, where)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(type(value) is JSON_TYPES[kind] for kind in kinds):
        yield f"{where} is no {kinds}"
    if "const" in schema and value != schema["const"]:
        yield f"{where} is not {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is none of {schema['enum']}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{where} does not match {schema['pattern']}"
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from faults(item, schema.get("items", {}), f"{where}[{number}]")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        yield from (f"{where} lacks {name}" for name in schema.get("required", ()) if name not in value)
        for name, item in value.items():
            if name in properties:
                yield from faults(item, properties[name], f"{where}.{name}")
            elif schema.get("additionalProperties") is False:
                yield f"{where} has {name}"


def ask(
    server: LiveServer, method: str, path: str, query: dict[str, str], body: str = "", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method.upper(), f"{path}?{urlencode(query)}", body.encode() or None, headers)
        response = connection.getresponse()
        return response.status, response.headers, b"" if response.status == 101 else response.read()
    finally:
        connection.close()


def check(operation: Any, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
    assert str(status) in operation["responses"], (status, body)
    response = resolve(operation["responses"][str(status)])
    for name in response.get("headers", {}):
        if name != "Retry-After":
            assert headers[name] is not None, name
    if not body:
        return
    media_type = headers.get_content_type()
    schema = response["content"][media_type]["schema"]
    if media_type in ("application/json", "application/x-ndjson"):
        for line in body.splitlines():
            assert list(faults(json.loads(line), schema)) == []


def concrete(path: str, topic: str) -> str:
    return path.replace("{topic}", topic).replace("{topics}", topic).replace("{sequence_id}", "s1")


def nonsense(path: str, topic: str) -> str:
    """Return the path to what is not there."""
    path = (
        path.replace("{code}", "Nobody-abc123")
        .replace("/sounds/{file}", "/sounds/none.mp3")
        .replace("{file}", "abcdefghijkl.txt")
    )
    return re.sub(
        "{(receipt|secret|device_id|message)}",
        "x" * 30,
        re.sub("{(group|name|tag)}", "x", concrete(path, topic)),
    )


def test_every_reference_leads_somewhere() -> None:
    def walk(item: Any) -> None:
        resolve(item)
        for child in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
            walk(child)

    walk(API)


def test_every_variable_of_a_path_is_described() -> None:
    for path, item in API["paths"].items():
        names = {resolve(parameter)["name"] for parameter in item.get("parameters", ())}
        assert names == set(re.findall(r"{(\w+)}", path)), path


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, path)
        for method, path in OPERATIONS
        if (method, path) not in SERVICES and "x-own-tests" not in API["paths"][path][method]
    ],
)
def test_the_server_answers_a_good_request_as_described(
    live_server: LiveServer, topic: str, method: str, path: str
) -> None:
    live_server.publish(topic=topic, message="cached", tags=["a"], priority=4)
    query, body, headers = {}, "", {}
    if path.startswith("/1/"):
        query = {"token": APP_TOKEN, "user": USER_KEY, "message": "hello", "title": "T", "name": "N"}
    elif path == "/":
        body = json.dumps(
            {"topic": topic, "message": "hello", "actions": [{"action": "copy", "label": "c", "value": "v"}]}
        )
    elif path.endswith("/ws"):
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    elif "{topics}" in path:
        query = {"poll": "1"}
    else:
        query = {"title": "T", "attach": "https://a.example/a.jpg", "click": "https://c.example"}
    address = concrete(path, topic)
    if "{file}" in path:
        message = live_server.publish(topic=topic, message="a file", filename="a.txt")
        address, query = f"/file/{message['id']}.txt", {}
    status, answer_headers, answer = ask(live_server, method, address, query, body, **headers)
    assert status in (200, 101), answer
    check(API["paths"][path][method], status, answer_headers, answer)


def login(name: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:secret".encode()).decode()}


def example_body(operation: Any, name: str) -> dict[str, Any]:
    """Return the body that the description shows, for a user and a topic of this name."""
    content = operation.get("requestBody", {}).get("content", {})
    body = dict(content.get("application/json", {}).get("example", {}))
    own = {"username": name, "topic": name}
    return body | {field: own[field] for field in own if field in body}


def prepare(server: LiveServer, path: str, method: str, body: dict[str, Any], name: str) -> dict[str, str]:
    """Make what the request is about; return who sends it, and further headers."""
    if method != "post" or path not in ("/v1/users", "/v1/account"):
        user = json.dumps({"username": name, "password": "secret"})
        ask(server, "PUT", "/v1/users", {}, user, **login("root"))
    is_for_administrators = path.startswith(("/v1/users", "/v1/version", "/v1/account/reservation"))
    headers = login("root" if is_for_administrators or (method, path) == ("post", "/v1/account") else name)
    if path == "/v1/account/token" and method != "post":
        answer = ask(server, "POST", path, {}, "{}", **headers)[2]
        body["token"] = json.loads(answer)["token"]
        headers["X-Token"] = body["token"]
    if path == "/v1/account/subscription" and method != "post":
        ask(server, "POST", path, {}, json.dumps(body), **headers)
    if path == "/v1/account/reservation/{topic}":
        reservation = json.dumps({"topic": name, "everyone": "read-only"})
        ask(server, "POST", "/v1/account/reservation", {}, reservation, **headers)
    return headers


@pytest.mark.parametrize(("method", "path"), SERVICES)
def test_the_services_answer_a_good_request_as_described(
    live_server: LiveServer, topic: str, method: str, path: str
) -> None:
    operation = API["paths"][path][method]
    body = example_body(operation, topic)
    headers = prepare(live_server, path, method, body, topic)
    status, answer_headers, answer = ask(
        live_server, method, concrete(path, topic), {}, json.dumps(body) if body else "", **headers
    )
    assert status == (404 if path == "/v1/tiers" else 200), answer  # this server has no tiers
    check(operation, status, answer_headers, answer)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_server_refuses_a_bad_request_as_described(
    live_server: LiveServer, topic: str, method: str, path: str
) -> None:
    status, headers, body = ask(
        live_server,
        method,
        nonsense(path, topic),
        {},
        Authorization="Basic cGhpbDp3cm9uZw==",
    )
    # ntfy publishes to the topic "subscribe" like that, unless there is such a subscription.
    if path.startswith(OPEN) and (method, path) != ("post", "/subscribe/{code}"):
        assert status == 404, body
    else:
        is_by_key = path.startswith("/1/") and (method, path) not in LOGGED_IN
        assert status == (400 if is_by_key else 401), body
    check(API["paths"][path][method], status, headers, body)


def test_every_ntfy_parameter_is_described() -> None:
    described = {
        name
        for parameter in API["components"]["parameters"].values()
        for name in (
            parameter["name"].lower(),
            *re.findall(r"`([\w-]+)`", parameter.get("description", "").lower()),
        )
    }
    # Calls and templates are refused; the last two are plain HTTP.
    undescribed = {"call", "template", "content_type", "content_encoding"}
    for meaning, names in NAMES.items():
        if meaning not in undescribed:
            assert {name.lower() for name in names} <= described, meaning


def dockerfile() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (word, rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
        if word
    ]


def test_the_container_runs_the_server_itself_without_privileges() -> None:
    steps = dockerfile()
    last = dict(steps)  # the last of each kind, which is that of the final stage
    assert [rest.split()[0] for word, rest in steps if word == "FROM"] == ["python:3.12-slim"] * 2
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    words = [word for word, _ in steps]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert last["VOLUME"] == "/var/lib/ntfyish"
    environment = dict(item.split("=", 1) for item in shlex.split(last["ENV"]))
    assert environment["NTFYISH_DATA_DIR"] == "/var/lib/ntfyish"
    assert environment["NTFYISH_LISTEN_HTTP"] == ":8080"
    assert last["EXPOSE"] == "8080"
    assert json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"]) == ["ntfyish", "serve"]


def test_what_the_container_copies_is_there_and_let_through() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for word, rest in dockerfile():
        if word == "COPY" and not rest.startswith("--from"):
            for name in rest.split()[:-1]:
                assert (ROOT / name).exists(), name
                assert name in allowed


def test_the_health_check_tells_health_from_its_absence(live_server: LiveServer) -> None:
    check_text = next(rest for word, rest in dockerfile() if word == "HEALTHCHECK")
    command = json.loads(check_text[check_text.index("[") :])
    assert command[:2] == ["python", "-c"]

    def exit_code(port: int) -> int:
        code = command[2].replace("8080", str(port))
        return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, timeout=20).returncode

    assert exit_code(live_server.port) == 0
    assert exit_code(1) == 1
