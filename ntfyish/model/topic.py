"""Topic names and topic lists (ntfy's rule), and the names that are never topics."""

from __future__ import annotations

import re

from ntfyish.model.errors import Invalid, Reason

TOPIC = r"[-_A-Za-z0-9]{1,64}"
TOPIC_PATTERN = re.compile(TOPIC)
SEQUENCE_ID_PATTERN = TOPIC_PATTERN
TOPIC_LIST_PATTERN = re.compile(f"{TOPIC}(?:,{TOPIC})*")

# ntfy's built-in list; the setting `disallowed-topics` adds to it.
DISALLOWED = frozenset(
    {"docs", "static", "file", "app", "metrics", "account", "settings", "signup", "login", "v1"}
)


def is_topic(text: str) -> bool:
    """Whether `text` may name a topic: 1 to 64 of ``[-_A-Za-z0-9]``, case-sensitive."""
    return TOPIC_PATTERN.fullmatch(text) is not None


def parse_topics(text: str) -> tuple[str, ...]:
    """Split ``a,b,a`` into its topics, each once, in the order of their first appearance.

    Raises:
        Invalid: TOPIC_INVALID if an item is empty or breaks the rule.
    """
    if TOPIC_LIST_PATTERN.fullmatch(text) is None:
        raise Invalid(Reason.TOPIC_INVALID)
    if "," not in text:
        return (text,)
    return tuple(dict.fromkeys(text.split(",")))
