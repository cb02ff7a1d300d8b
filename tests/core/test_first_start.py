"""The very first start: what is made, once."""

from __future__ import annotations

from pathlib import Path

from ntfyish.core.first_start import make_first
from ntfyish.core.ports import Add, People, Remove
from ntfyish.model.people import App, Role, TopicKey
from ntfyish.store.sqlite.people import PeopleDatabase


async def test_an_administrator_and_an_app_of_theirs_are_made_once(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as people:
        first = await make_first(people, monthly_limit=7, created_at=5)
        assert first is not None
        assert await people.load() == People((first.account,), (first.app,))
        assert (first.account.role, first.account.created_at) == (Role.ADMIN, 5)
        assert (first.app.account, first.app.monthly_limit) == (first.account.name, 7)
        assert await make_first(people) is None
        assert await people.load() == People((first.account,), (first.app,))


async def test_nothing_is_made_where_an_account_is_known(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as people:
        first = await make_first(people)
        assert first is not None
        await people.apply(Remove(App, first.app.token))
        assert await make_first(people) is None


async def test_keys_alone_are_nobody(tmp_path: Path) -> None:
    async with PeopleDatabase.open(tmp_path) as people:
        await people.apply(Add(TopicKey(key="t" * 30, topic="alerts")))
        assert await make_first(people) is not None
