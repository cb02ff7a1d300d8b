"""Access entries: the rule itself, and the index that answers faster, against it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ntfyish.core.access_list import AccessList
from ntfyish.model.acl import EVERYONE, AclEntry, TopicAccess, decide, matches, parse_access
from ntfyish.model.errors import Invalid, Reason

RW, RO, WO, DENY = TopicAccess.READ_WRITE, TopicAccess.READ_ONLY, TopicAccess.WRITE_ONLY, TopicAccess.DENY_ALL


def entry(account: str, pattern: str, access: TopicAccess) -> AclEntry:
    return AclEntry(account=account, pattern=pattern, access=access)


# Few letters, so that cases, "_" and overlaps meet all the time
names = st.text("aAb_-", min_size=1, max_size=6)
patterns = st.text("aAb_-**", min_size=1, max_size=7)
entries = st.builds(
    entry, st.sampled_from(["phil", "Phil", "vera", EVERYONE]), patterns | names, st.sampled_from(TopicAccess)
)


@given(st.lists(entries, max_size=30), st.sampled_from(["", "phil", "vera", "nobody"]), names)
@example([entry("phil", "ab", RO), entry("phil", "ab*", WO)], "phil", "ab")
@example([entry("phil", "a*", RO), entry("phil", "*b", RW)], "phil", "ab")
@example([entry("phil", "*", RO), entry("phil", "ab", RO), entry("phil", "ab", WO)], "phil", "ab")
@example([entry("phil", "ab", WO), entry("phil", "ab", RO)], "phil", "ab")
@example([entry("*", "**", RW), entry("*", "a*a", DENY)], "", "a")
def test_the_index_answers_as_the_rule_does(table: list[AclEntry], account: str, topic: str) -> None:
    assert AccessList(table).decide(account, topic) is decide(table, account, topic)


@pytest.mark.parametrize(
    ("table", "account", "topic", "access"),
    [
        ([], "phil", "t", None),
        # an account's own entry before everybody's, however short, denials included
        ([("phil", "*", DENY), ("*", "topic", RW)], "phil", "topic", DENY),
        ([("phil", "*", RW), ("*", "topic", DENY)], "phil", "topic", RW),
        ([("phil", "*", RW), ("*", "topic", DENY)], "vera", "topic", DENY),
        ([("phil", "*", RW), ("*", "topic", DENY)], "", "topic", DENY),
        # then the longer pattern
        ([("*", "up*", WO), ("*", "up1*", DENY)], "", "up12", DENY),
        ([("*", "up*", WO), ("*", "up1*", DENY)], "", "up21", WO),
        # then the one that allows writing; they are not merged
        ([("*", "a*", RO), ("*", "*b", WO)], "", "ab", WO),
        # "_" and "%" mean themselves, and count once
        ([("*", "a_c", RW)], "", "abc", None),
        ([("*", "a_c", RW)], "", "a_c", RW),
        ([("*", "a%c", RW)], "", "abc", None),
        ([("*", "a_*", RO), ("*", "a_b", WO)], "", "a_b", WO),
        # cases differ
        ([("*", "secret", DENY)], "", "SECRET", None),
        ([("*", "Sec*", DENY)], "", "secret", None),
        ([("Phil", "t", RW)], "phil", "t", None),
        # "*" is any run, also none
        ([("*", "a*", RW)], "", "a", RW),
        ([("*", "*a*b*", RW)], "", "xxaxxbxx", RW),
        ([("*", "*a*b*", RW)], "", "ba", None),
        ([("*", "ab*ba", RW)], "", "aba", None),
    ],
)
def test_which_entry_decides(
    table: list[tuple[str, str, TopicAccess]], account: str, topic: str, access: TopicAccess | None
) -> None:
    made = [entry(*row) for row in table]
    assert decide(made, account, topic) is access
    assert AccessList(made).decide(account, topic) is access


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    pattern = "*a" * 31 + "*b"
    assert not matches(pattern, "a" * 64)
    assert matches(pattern, "a" * 62 + "bb")


@pytest.mark.parametrize(
    ("word", "access"),
    [
        *((word, RW) for word in ("read-write", "rw", " RW ")),
        *((word, RO) for word in ("read-only", "read", "ro")),
        *((word, WO) for word in ("write-only", "write", "wo")),
        *((word, DENY) for word in ("deny-all", "deny", "none")),
    ],
)
def test_permissions_have_ntfys_words(word: str, access: TopicAccess) -> None:
    assert parse_access(word) is access


@pytest.mark.parametrize("word", ["", "all", "r", "rw ro", "*"])
def test_other_words_are_no_permissions(word: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_access(word)
    assert caught.value.reason is Reason.PERMISSION_INVALID
