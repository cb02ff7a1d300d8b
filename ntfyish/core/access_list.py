"""The access control list, indexed: the same answers as `model.acl.decide`, without reading every entry.

Exact topics are looked up; patterns are found by what stands before their first ``*`` or, if nothing does,
after their last. Built whenever people change, off the event loop, and never changed afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable

from ntfyish.model.acl import EVERYONE, AclEntry, TopicAccess, matches, rank

# (what `rank` says, place in the list, what is allowed, pattern); the least decides, and places differ
_Rule = tuple[tuple[bool, int, bool], int, TopicAccess, str]


class AccessList:
    """All entries, by account."""

    __slots__ = ("_rules",)

    def __init__(self, entries: Iterable[AclEntry]) -> None:
        self._rules: dict[str, _Rules] = {}
        for place, entry in enumerate(entries):
            rules = self._rules.get(entry.account)
            if rules is None:
                rules = self._rules[entry.account] = _Rules()
            rules.add((rank(entry), place, entry.access, entry.pattern))
        for rules in self._rules.values():
            rules.sort()

    def decide(self, account: str, topic: str) -> TopicAccess | None:
        """Return what the list says about `account` ("" for nobody) and `topic`; None if it says nothing."""
        for name in (account, EVERYONE):
            rules = self._rules.get(name)
            if rules is not None and (rule := rules.find(topic)) is not None:
                return rule[2]
        return None


class _Rules:
    """The entries of one account."""

    __slots__ = ("_after", "_after_lengths", "_before", "_before_lengths", "_exact")

    def __init__(self) -> None:
        self._exact: dict[str, _Rule] = {}
        self._before: dict[str, list[_Rule]] = {}
        self._after: dict[str, list[_Rule]] = {}
        self._before_lengths: tuple[int, ...] = ()
        self._after_lengths: tuple[int, ...] = ()

    def add(self, rule: _Rule) -> None:
        pattern = rule[3]
        before, star, rest = pattern.partition("*")
        if not star:
            self._exact[pattern] = min(rule, self._exact.get(pattern, rule))
        elif before:
            self._before.setdefault(before, []).append(rule)
        else:
            self._after.setdefault(rest.rpartition("*")[2], []).append(rule)

    def sort(self) -> None:
        for index in (self._before, self._after):
            for rules in index.values():
                rules.sort()
        self._before_lengths = tuple(sorted({len(text) for text in self._before}))
        self._after_lengths = tuple(sorted({len(text) for text in self._after}))

    def find(self, topic: str) -> _Rule | None:
        """Return the first of the rules that match."""
        best = self._exact.get(topic)
        size = len(topic)
        for length in self._before_lengths:
            if length > size:
                break
            best = _better(best, self._before.get(topic[:length], ()), topic)
        for length in self._after_lengths:
            if length > size:
                break
            best = _better(best, self._after.get(topic[size - length :], ()), topic)
        return best


def _better(best: _Rule | None, rules: Iterable[_Rule], topic: str) -> _Rule | None:
    """Return the first of `best` and of the sorted `rules` that match."""
    for rule in rules:
        if best is not None and best < rule:
            break
        if matches(rule[3], topic):
            return rule
    return best
