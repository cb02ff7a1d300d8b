"""Pushover's HTML messages as plain text, for readers that show no markup: raw streams, push alerts."""

from __future__ import annotations

from html.parser import HTMLParser


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("br", "p", "div"):
            self.pieces.append("\n")

    handle_startendtag = handle_starttag


def reduce_html(text: str) -> str:
    """Return what a person would read: tags gone, entities resolved, line breaks kept.

    What is no markup after all ("a < b") stays as it is.
    """
    if "<" not in text and "&" not in text:
        return text
    parser = _Text()
    parser.feed(text)
    parser.close()
    return "".join(parser.pieces).strip()
