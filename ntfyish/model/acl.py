"""Access control: permissions, topic patterns, and which entry decides.

After ntfy: an account's own entries come before everybody's, then the longer pattern, then the one that
allows writing; the first entry decides alone, denials included. Unlike old versions of ntfy, patterns are
case-sensitive and only ``*`` means anything but itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from ntfyish.model.errors import Invalid, Reason

EVERYONE = "*"
PATTERN = re.compile(r"[-_*A-Za-z0-9]{1,64}")


class Permission(Enum):
    """What a grant allows."""

    READ = "read-only"
    WRITE = "write-only"


BOTH = frozenset(Permission)


class TopicAccess(Enum):
    """What an entry of the access control list, or the default, allows."""

    READ_WRITE = "read-write"
    READ_ONLY = "read-only"
    WRITE_ONLY = "write-only"
    DENY_ALL = "deny-all"

    def allows(self, permission: Permission) -> bool:
        """Whether it includes `permission`."""
        return self is TopicAccess.READ_WRITE or self.value == permission.value


_WORDS = {
    "read-write": TopicAccess.READ_WRITE,
    "rw": TopicAccess.READ_WRITE,
    "read-only": TopicAccess.READ_ONLY,
    "read": TopicAccess.READ_ONLY,
    "ro": TopicAccess.READ_ONLY,
    "write-only": TopicAccess.WRITE_ONLY,
    "write": TopicAccess.WRITE_ONLY,
    "wo": TopicAccess.WRITE_ONLY,
    "deny-all": TopicAccess.DENY_ALL,
    "deny": TopicAccess.DENY_ALL,
    "none": TopicAccess.DENY_ALL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AclEntry:
    """One entry of the access control list.

    Attributes:
        account: whom it is about; `EVERYONE` for those without an entry of their own.
        pattern: a topic, or several with ``*`` for any run of characters.
        owner: the account that reserved the topic by it; "" if it is no reservation.
    """

    account: str
    pattern: str
    access: TopicAccess
    owner: str = ""
    declared: bool = False


def parse_access(word: str) -> TopicAccess:
    """Read a permission in any of ntfy's words.

    Raises:
        Invalid: PERMISSION_INVALID.
    """
    access = _WORDS.get(word.strip().lower())
    if access is None:
        raise Invalid(Reason.PERMISSION_INVALID)
    return access


def matches(pattern: str, topic: str) -> bool:
    """Whether `pattern` includes `topic`, in time linear in both for each ``*``."""
    if "*" not in pattern:
        return pattern == topic
    first, *middle, last = pattern.split("*")
    if len(topic) < len(first) + len(last) or not topic.startswith(first) or not topic.endswith(last):
        return False
    place, end = len(first), len(topic) - len(last)
    for piece in middle:
        found = topic.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True


def rank(entry: AclEntry) -> tuple[bool, int, bool]:
    """Return a key by which the entry that decides comes first."""
    return (
        entry.account == EVERYONE,
        -len(entry.pattern),
        not entry.access.allows(Permission.WRITE),
    )


def decide(entries: Iterable[AclEntry], account: str, topic: str) -> TopicAccess | None:
    """Return what the list says about `account` ("" for nobody) and `topic`; None if it says nothing.

    This is the rule itself, spelled out; `core.access` answers the same faster.
    """
    about = (entry for entry in entries if entry.account in (account, EVERYONE))
    matching = [entry for entry in about if matches(entry.pattern, topic)]
    return min(matching, key=rank).access if matching else None
