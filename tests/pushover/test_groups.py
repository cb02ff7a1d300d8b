"""Pushover's calls for delivery groups, and messages to a group's key."""

from __future__ import annotations

from typing import Any

import pytest

from ntfyish.core.ports import Add
from ntfyish.model.people import KEY_PATTERN, Group, Member
from tests.pushover.realm import VERAS_TOKEN, Realm
from tests.pushover.world import MUTE, NOBODY, OFF_TOKEN, PHIL, TOKEN, VERA, body_of, header

DONE = {"status": 1}
DECLARED_KEY = "gDeclaredDeclaredDeclaredDecl0"
E1 = {"token": "invalid", "errors": ["application token is invalid"], "status": 0}
E15 = {
    "group": "not found",
    "errors": ["group not found or you are not authorized to edit it"],
    "status": 0,
}
E16 = {"user": "invalid", "errors": ["user key is invalid"], "status": 0}
E17 = {"user": "invalid", "errors": ["user is already a member of this group"], "status": 0}
E18 = {"user": "invalid", "errors": ["user is not a member of this group"], "status": 0}
CALLS = ("add_user", "remove_user", "delete_user", "disable_user", "enable_user", "rename")


async def make(realm: Realm, name: str = "oncall") -> str:
    answer = body_of(await realm.post("groups.json", name=name))
    assert list(answer) == ["group", "status"]
    key = answer["group"]
    assert KEY_PATTERN.fullmatch(key)
    assert key.startswith("g")
    return str(key)


async def users_of(realm: Realm, key: str) -> list[dict[str, Any]]:
    users: list[dict[str, Any]] = body_of(await realm.get(f"groups/{key}.json"))["users"]
    return users


def user(key: str, device: str | None = None, memo: str = "", *, disabled: bool = False) -> dict[str, Any]:
    return {"user": key, "device": device, "memo": memo, "disabled": disabled}


async def test_groups_are_made_listed_shown_and_renamed(realm: Realm) -> None:
    key = await make(realm)
    other = await make(realm, "backup")
    listed = {"groups": [{"group": other, "name": "backup"}, {"group": key, "name": "oncall"}], "status": 1}
    assert body_of(await realm.get("groups.json")) == listed
    shown = body_of(await realm.get(f"groups/{key}.json"))
    assert list(shown.items()) == [("name", "oncall"), ("users", []), ("status", 1)]
    assert body_of(await realm.post(f"groups/{key}/rename.json", name=" night ")) == DONE
    assert body_of(await realm.get(f"groups/{key}.json"))["name"] == "night"


async def test_members_are_added_disabled_enabled_and_removed(realm: Realm) -> None:
    key = await make(realm)
    for fields in ({"user": VERA, "memo": "weekends"}, {"user": PHIL, "device": "droid2"}):
        assert body_of(await realm.post(f"groups/{key}/add_user.json", **fields)) == DONE
    assert await users_of(realm, key) == [user(VERA, memo="weekends"), user(PHIL, "droid2")]
    assert body_of(await realm.post(f"groups/{key}/disable_user.json", user=VERA)) == DONE
    assert await users_of(realm, key) == [user(VERA, memo="weekends", disabled=True), user(PHIL, "droid2")]
    assert body_of(await realm.post(f"groups/{key}/enable_user.json", user=VERA)) == DONE
    assert (await users_of(realm, key))[0]["disabled"] is False
    assert body_of(await realm.post(f"groups/{key}/remove_user.json", user=VERA)) == DONE
    assert body_of(await realm.post(f"groups/{key}/delete_user.json", user=PHIL, device="droid2")) == DONE
    assert await users_of(realm, key) == []


async def test_one_user_may_be_a_member_with_several_devices(realm: Realm) -> None:
    key = await make(realm)
    for device in ("droid2", "iphone"):
        assert body_of(await realm.post(f"groups/{key}/add_user.json", user=PHIL, device=device)) == DONE
    again = await realm.post(f"groups/{key}/add_user.json", user=PHIL, device="iphone")
    assert (again.status, body_of(again)) == (400, E17)
    await realm.post(f"groups/{key}/disable_user.json", user=PHIL, device="droid2")
    assert await users_of(realm, key) == [user(PHIL, "droid2", disabled=True), user(PHIL, "iphone")]
    await realm.post(f"groups/{key}/remove_user.json", user=PHIL, device="iphone")
    assert await users_of(realm, key) == [user(PHIL, "droid2", disabled=True)]
    await realm.post(f"groups/{key}/add_user.json", user=PHIL)
    await realm.post(f"groups/{key}/remove_user.json", user=PHIL)
    assert await users_of(realm, key) == []


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("token", "group", "expected"),
    [
        ("", "own", E1),
        (NOBODY, "own", E1),
        (OFF_TOKEN, "own", E1),
        (VERAS_TOKEN, "own", E15),
        (TOKEN, NOBODY, E15),
        (TOKEN, "x", E15),
        (TOKEN, PHIL, E15),
        (TOKEN, "%00%ff", E15),
    ],
)
async def test_only_the_owners_apps_reach_a_group(
    realm: Realm, call: str, token: str, group: str, expected: dict[str, Any]
) -> None:
    key = await make(realm) if group == "own" else group
    response = await realm.post(f"groups/{key}/{call}.json", token, user=VERA, name="x")
    assert response.status == 400
    assert list(body_of(response).items()) == list(expected.items())
    shown = await realm.get(f"groups/{key}.json", token)
    assert body_of(shown) == expected


@pytest.mark.parametrize(
    ("call", "fields", "expected"),
    [
        ("add_user", {}, E16),
        ("add_user", {"user": NOBODY}, E16),
        ("add_user", {"user": "vera"}, E16),
        ("add_user", {"user": VERA}, E17),
        ("remove_user", {"user": NOBODY}, E16),
        ("remove_user", {"user": PHIL}, E18),
        ("delete_user", {"user": PHIL}, E18),
        ("remove_user", {"user": VERA, "device": "gone"}, E18),
        ("disable_user", {"user": PHIL}, E18),
        ("enable_user", {"user": PHIL}, E18),
        ("rename", {}, {"name": "cannot be blank", "errors": ["name cannot be blank"], "status": 0}),
        ("rename", {"name": "a\nb"}, {"name": "is invalid", "errors": ["name is invalid"], "status": 0}),
        (
            "add_user",
            {"user": PHIL, "device": "a b"},
            {
                "device": "invalid for this user",
                "errors": ["device name is not valid for this user"],
                "status": 0,
            },
        ),
        (
            "add_user",
            {"user": PHIL, "memo": "x" * 201},
            {
                "memo": "is too long (maximum is 200 characters)",
                "errors": ["memo is too long (maximum is 200 characters)"],
                "status": 0,
            },
        ),
    ],
)
async def test_wrong_members_are_refused(
    realm: Realm, call: str, fields: dict[str, str], expected: dict[str, Any]
) -> None:
    key = await make(realm)
    await realm.post(f"groups/{key}/add_user.json", user=VERA)
    response = await realm.post(f"groups/{key}/{call}.json", **fields)
    assert response.status == 400
    assert list(body_of(response).items()) == list(expected.items())
    assert await users_of(realm, key) == [user(VERA)]


async def test_a_group_needs_a_name(realm: Realm) -> None:
    response = await realm.post("groups.json", name=" ")
    assert body_of(response) == {"name": "cannot be blank", "errors": ["name cannot be blank"], "status": 0}
    assert (await realm.post("groups.json", name="x" * 251)).status == 400
    assert body_of(await realm.get("groups.json"))["groups"] == []


async def test_a_declared_group_is_shown_but_not_changed(realm: Realm) -> None:
    await realm.people.apply(
        Add(
            Group(
                key=DECLARED_KEY,
                name="fixed",
                account="phil",
                members=(Member(account="vera"),),
                declared=True,
            )
        )
    )
    assert await users_of(realm, DECLARED_KEY) == [user(VERA)]
    for call in CALLS:
        response = await realm.post(f"groups/{DECLARED_KEY}/{call}.json", user=VERA, name="x")
        assert body_of(response)["errors"] == ["is declared in the configuration"]


async def test_messages_reach_the_enabled_members_of_a_group_made_just_now(realm: Realm) -> None:
    key = await make(realm)
    for name in (PHIL, VERA, MUTE):
        await realm.post(f"groups/{key}/add_user.json", user=name)
    await realm.post(f"groups/{key}/disable_user.json", user=VERA)
    response = await realm.send(user=key)
    assert body_of(response) == DONE
    assert [message.topic for message in realm.store.messages] == [PHIL]
    assert header(response, "X-Limit-App-Remaining") == "9999"
    await realm.post(f"groups/{key}/disable_user.json", user=PHIL)
    assert body_of(await realm.send(user=key))["info"] == "no active devices to send to"
    valid = await realm.post("users/validate.json", user=key)
    assert body_of(valid)["user"] == "has no active devices"
    await realm.post(f"groups/{key}/enable_user.json", user=VERA)
    valid = await realm.post("users/validate.json", user=key)
    assert (body_of(valid)["group"], body_of(valid)["devices"]) == (1, [])


async def test_a_member_with_devices_gets_messages_for_those_only(realm: Realm) -> None:
    key, both = await make(realm), await make(realm, "both")
    for device in ("droid2", "iphone"):
        await realm.post(f"groups/{key}/add_user.json", user=PHIL, device=device)
    await realm.post(f"groups/{key}/add_user.json", user=VERA)
    await realm.post(f"groups/{key}/disable_user.json", user=PHIL, device="iphone")
    for name in ({"device": "droid2"}, {}):
        await realm.post(f"groups/{both}/add_user.json", user=PHIL, **name)
    await realm.send(user=key)
    assert [(one.topic, one.content.device) for one in realm.store.messages] == [(PHIL, "droid2"), (VERA, "")]
    await realm.send(user=f"{key},{PHIL}")
    await realm.send(user=both)
    assert [message.content.device for message in realm.messages_to(PHIL)] == ["droid2", "", ""]


async def test_a_group_is_shown_in_xml_too(realm: Realm) -> None:
    key = await make(realm, "a<b")
    await realm.post(f"groups/{key}/add_user.xml", user=PHIL, device="droid2")
    shown = await realm.get(f"groups/{key}.xml")
    assert shown.content_type == "application/xml; charset=utf-8"
    assert (
        f"<response><name>a&lt;b</name><users><user><user>{PHIL}</user><device>droid2</device><memo></memo>"
        "<disabled>false</disabled></user></users><status>1</status>"
    ) in shown.body.decode()


async def test_a_group_that_is_gone_is_written_to_no_more(realm: Realm) -> None:
    assert (await realm.send(user=DECLARED_KEY)).status == 400


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("OPTIONS /1/groups.json", 200),
        ("PUT /1/groups.json", 405),
        ("GET /1/groups/gKey/add_user.json", 405),
        ("POST /1/groups/gKey/explode.json", 404),
        ("POST /1/groups/gKey/add_user/x.json", 404),
    ],
)
async def test_other_methods_and_paths_are_refused(realm: Realm, line: str, status: int) -> None:
    response = await realm.ask(line, {"token": TOKEN})
    assert response is not None
    assert response.status == status
    assert header(response, "Access-Control-Allow-Origin") == "*"


@pytest.mark.parametrize("line", ["POST /1/groups", "PUT /1/groups/clear", "DELETE /1/groups"])
async def test_ntfys_topic_1_keeps_its_sequences(realm: Realm, line: str) -> None:
    assert await realm.ask(line) is None
