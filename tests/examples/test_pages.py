"""The example pages in a real browser: live, resumed, and harmless whatever is sent."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from tests.examples.conftest import EXAMPLES, LiveServer

PAGES = ("eventsource.html", "websocket.html")
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>\n<b>not bold</b>"


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A tab in which nothing may go wrong unseen: dialogs and script errors fail the test."""
    page = browser.new_page()
    page.set_default_timeout(20_000)
    trouble: list[str] = []

    def refuse(dialog: Dialog) -> None:
        trouble.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("dialog", refuse)
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    yield page
    page.close()
    assert trouble == []


def visit(tab: Page, name: str, server: LiveServer, topic: str) -> None:
    query = urlencode({"server": server.url, "topic": topic})
    tab.goto(f"{(EXAMPLES / name).as_uri()}?{query}")
    expect(tab.locator("#status")).to_have_text("connected", timeout=20_000)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_what_is_cached_and_what_comes(
    live_server: LiveServer, topic: str, tab: Page, name: str
) -> None:
    live_server.publish(topic=topic, message="cached")
    visit(tab, name, live_server, topic)
    expect(tab.locator("li p")).to_have_text(["cached"])
    live_server.publish(topic=topic, message="live", title="Größe 📦", priority=5)
    expect(tab.locator("li p")).to_have_text(["live", "cached"])
    expect(tab.locator("li h2")).to_have_text(["Größe 📦"])
    expect(tab.locator("li.urgent")).to_have_count(1)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_markup_as_text_and_links_only_to_the_web(
    live_server: LiveServer, topic: str, tab: Page, name: str
) -> None:
    visit(tab, name, live_server, topic)
    links = ("javascript:alert(3)", "data:text/html,x", " JavaScript:alert(4)", "https://x.example/?q=1")
    for link in links:
        live_server.publish(topic=topic, message=EVIL, title=EVIL, tags=["<i>"], click=link)
    expect(tab.locator("li")).to_have_count(len(links))
    assert tab.locator("li p").all_text_contents() == [EVIL] * len(links)
    assert tab.locator("li img, li script, li b, li i").count() == 0
    anchors = tab.locator("li a")
    expect(anchors).to_have_count(1)
    assert anchors.get_attribute("href") == "https://x.example/?q=1"
    assert anchors.get_attribute("rel") == "noopener noreferrer"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_goes_on_after_a_restart_without_loss_or_repetition(
    own_server: LiveServer, topic: str, tab: Page, name: str
) -> None:
    own_server.publish(topic=topic, message="one")
    visit(tab, name, own_server, topic)
    expect(tab.locator("li p")).to_have_text(["one"])
    own_server.stop()
    expect(tab.locator("#status")).to_contain_text("connection lost")
    own_server.start()
    own_server.publish(topic=topic, message="two")
    expect(tab.locator("li p")).to_have_text(["two", "one"], timeout=20_000)
    own_server.publish(topic=topic, message="three")
    expect(tab.locator("li p")).to_have_text(["three", "two", "one"], timeout=20_000)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_subscribes_to_what_is_filled_in(
    live_server: LiveServer, topic: str, tab: Page, name: str
) -> None:
    tab.goto((EXAMPLES / name).as_uri())
    tab.fill("#server", live_server.url + "/")
    tab.fill("#topic", f"other,{topic}")
    tab.get_by_role("button").click()
    expect(tab.locator("#status")).to_have_text("connected")
    live_server.publish(topic=topic, message="for both")
    expect(tab.locator("li p")).to_have_text(["for both"])
    tab.fill("#server", "javascript:alert(1)")
    tab.get_by_role("button").click()
    expect(tab.locator("#status")).to_have_text("http or https only")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_a_message_once_however_often_it_is_sent(
    live_server: LiveServer, topic: str, tab: Page, name: str
) -> None:
    visit(tab, name, live_server, topic)
    message = live_server.publish(topic=topic, message="once")
    expect(tab.locator("li p")).to_have_text(["once"])
    tab.evaluate("message => show(message)", message)
    live_server.publish(topic=topic, message="next")
    expect(tab.locator("li p")).to_have_text(["next", "once"])
