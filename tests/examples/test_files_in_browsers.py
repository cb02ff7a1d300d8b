"""Files that somebody has uploaded, opened in a real browser: nothing in them may run."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, Page

from tests.examples.conftest import LiveServer

SCRIPT = b"<script>document.title='ran';fetch('/ran-by-script?message=ran')</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="fetch(\'/ran\')">%s</svg>' % SCRIPT
GIF = bytes.fromhex("47494638396101000100800000ffffff0000002c00000000010001000002024401003b")
FILES = {
    "page.html": b"<!DOCTYPE html><html><body>" + SCRIPT + b"</body></html>",
    "picture.svg": SVG,
    "picture.png": b"<html>" + SCRIPT,
    "page.xhtml": b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">' + SCRIPT + b"</html>",
    "code.js": b"document.title='ran';fetch('/ran')",
    "paper.pdf": b"%PDF-1.4\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n" + SCRIPT,
    "both.gif": GIF + SCRIPT,
    "both.html": GIF + SCRIPT,
    "text.txt": SCRIPT,
}


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.set_default_timeout(20_000)
    yield page
    page.close()


def upload(server: LiveServer, topic: str, name: str, data: bytes) -> str:
    request = urllib.request.Request(
        f"{server.url}/{topic}", data=data, method="PUT", headers={"Filename": name}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        url = str(json.load(response)["attachment"]["url"])
    return server.url + url[url.index("/file/") :]


@pytest.mark.parametrize("name", FILES)
def test_nothing_in_a_file_runs(live_server: LiveServer, topic: str, tab: Page, name: str) -> None:
    url = upload(live_server, topic, name, FILES[name])
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("dialog", lambda dialog: pytest.fail(dialog.message))
    try:
        tab.goto(url, wait_until="load")
    except Error as error:
        assert "Download is starting" in error.message or "ERR_ABORTED" in error.message  # noqa: PT017
    tab.goto("about:blank")  # a picture was shown in a sandbox, which cannot be written to
    frame = f"<title>outside</title><iframe src='{url}'></iframe>"
    tab.set_content(f"{frame}<script src='{url}'></script><img src='{url}'>", wait_until="load")
    assert tab.title() == "outside"
    assert not [one for one in asked if "/ran" in one]


def test_the_test_would_see_it(live_server: LiveServer, tab: Page) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(f"{live_server.url}/v1/health")
    tab.set_content(FILES["page.html"].decode(), wait_until="load")
    assert tab.title() == "ran"
    assert [one for one in asked if "/ran-by-script" in one]
