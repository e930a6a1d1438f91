import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from livekit import rtc

from loadtest.room_ticket import Keys, fresh
from serve_app.rooms.request import MAX_BODY_BYTES
from serve_app.rooms.roll import Join, Stay
from tests.agents_kit import Near, agents_of, delete, keeping, met, options, replica, until

pytestmark = pytest.mark.timeout(60)

DOOR = "/api/livekit/token"


def claims(answer: httpx.Response) -> dict[str, Any]:
    """What the ticket says."""
    assert answer.status_code == 201, answer.text
    body = answer.json()["participant_token"].split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return found


async def test_a_ticket_leads_into_a_room_with_the_agent_in_it(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys), fresh("room")
    async with replica(chosen) as one, one.client as client:
        config = {"metadata": "m", "agents": [{"metadata": '{"instructions": "Sing."}'}]}
        answer = await client.post(DOOR, json={"room_name": room, "room_config": config})
        assert answer.status_code == 201
        assert [person.identity for person in await one.server.participants(room)] == [one.agents.stays[room].identity]
        there = rtc.Room()
        await there.connect(answer.json()["server_url"], answer.json()["participant_token"])
        await met(there)
        assert there.name == room
        assert there.metadata == "m"  # the agent made the room, as its caller asked for it
        assert one.agents.stays[room].metadata == '{"instructions": "Sing."}'
        await there.disconnect()
        await delete(livekit_keys, room)


async def test_what_a_ticket_allows(livekit_keys: Keys) -> None:
    chosen = options(livekit_keys, token_ttl_s=60)
    asked = {
        "room_name": fresh("room"),
        "participant_identity": "me",
        "participant_name": "Me",
        "participant_metadata": "mine",
        "participant_attributes": {"antiphon.voice": "joe"},
        "room_config": {"empty_timeout": 7, "agents": [{"agent_name": chosen.agent_name}]},
    }
    async with replica(chosen) as one, one.client as client:
        said = claims(await client.post(DOOR, json=asked))
        assert (said["sub"], said["name"], said["metadata"]) == ("me", "Me", "mine")
        assert said["attributes"] == {"antiphon.voice": "joe"}
        assert said["exp"] - said["nbf"] == 60
        granted = {name: grant for name, grant in said["video"].items() if grant not in (False, None, [])}
        assert granted.pop("room") == asked["room_name"]
        assert set(granted) <= {"roomJoin", "canPublish", "canSubscribe", "canPublishData", "canUpdateOwnMetadata"}
        config = {"emptyTimeout": 7, "agents": [{"agentName": chosen.agent_name}]}  # called where the room is made anew
        assert said["roomConfig"] == config
        assert said.get("kind", "") in ("", "standard")
        await delete(livekit_keys, str(asked["room_name"]))


async def test_the_public_address_is_told_where_there_is_one(livekit_keys: Keys) -> None:
    async with replica(options(livekit_keys, public_url="wss://calls.test")) as one, one.client as client:
        answer = await client.post(DOOR)
        assert answer.json()["server_url"] == "wss://calls.test"
        await delete(livekit_keys, claims(answer)["video"]["room"])


async def test_callers_of_one_room_meet_one_agent(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys), fresh("room")
    async with (
        keeping(chosen) as keeper,
        replica(chosen, Near(keeper)) as one,
        replica(chosen, Near(keeper), name="two") as two,
        one.client as a,
        two.client as b,
    ):
        await until(lambda: len(keeper._lines) == 2, "both lines")
        answers = await asyncio.gather(*(door.post(DOOR, json={"room_name": room}) for door in (a, b) * 4))
        assert [answer.status_code for answer in answers] == [201] * 8
        assert one.taken + two.taken == 1
        there = rtc.Room()
        await there.connect(answers[0].json()["server_url"], answers[0].json()["participant_token"])
        await met(there)
        assert len(agents_of(there)) == 1
        await there.disconnect()
        await delete(livekit_keys, room)


async def test_a_full_replica_finds_the_room_another_one(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys), fresh("room")
    async with (
        keeping(chosen) as keeper,
        replica(chosen, Near(keeper), max_calls=1) as one,
        replica(chosen, Near(keeper), name="two", max_calls=1) as two,
        one.client as client,
    ):
        await until(lambda: len(keeper._lines) == 2, "both lines")
        place = one.agents.reserve("elsewhere")
        assert place is not None
        answer = await client.post(DOOR, json={"room_name": room})
        assert answer.status_code == 201
        await until(lambda: set(two.agents.stays) == {room}, "the other's agent")
        full = await client.post(DOOR, json={"room_name": fresh("room")})
        assert (full.status_code, full.json()["error"]["code"]) == (503, "at_capacity")
        assert full.headers["Retry-After"] == "1"
        assert (await client.post(DOOR, json={"room_name": room})).status_code == 201  # its agent is there
        one.agents.cancel(place)

        async def listening() -> bool:
            people = await two.server.participants(room)
            return [person.attributes["lk.agent.state"] for person in people] == ["listening"]

        await until(listening, "the agent in its room")
        await delete(livekit_keys, room)


async def test_a_ticket_that_is_used_after_the_agent_has_left_brings_it_back(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys, caller_wait_s=0.1), fresh("room")
    async with replica(chosen) as one, one.client as client:
        answer = await client.post(DOOR, json={"room_name": room})
        await until(lambda: not one.taken, "an agent that waited in vain")
        await delete(livekit_keys, room)
        there = rtc.Room()
        await there.connect(answer.json()["server_url"], answer.json()["participant_token"])
        await met(there)
        await there.disconnect()
        await delete(livekit_keys, room)


async def test_a_room_that_another_replica_hosts_gives_the_place_back(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys), fresh("room")
    async with keeping(chosen) as keeper, replica(chosen, Near(keeper)) as one, one.client as client:
        await until(lambda: "one" in keeper._lines, "an open line")
        assert await keeper.claim(room, "somebody else")
        assert (await client.post(DOOR, json={"room_name": room})).status_code == 201
        assert not one.taken


async def test_without_a_keeper_tickets_are_given_all_the_same(livekit_keys: Keys) -> None:
    async with replica(options(livekit_keys), Near(), max_calls=1) as one, one.client as client:
        answer = await client.post(DOOR)
        room = claims(answer)["video"]["room"]
        assert set(one.agents.stays) == {room}
        full = await client.post(DOOR)
        assert (full.status_code, full.json()["error"]["code"]) == (503, "at_capacity")
        await delete(livekit_keys, room)


class Silent(Near):
    """A keeper that never answers."""

    async def ask(self, method: str, *args: object, **kwargs: object) -> object:
        await asyncio.Event().wait()
        raise AssertionError


async def test_who_asks_and_goes_away_takes_no_place(livekit_keys: Keys) -> None:
    async with replica(options(livekit_keys), Silent()) as one, one.client as client:
        asking = asyncio.create_task(client.post(DOOR))
        await until(lambda: one.taken == 1, "a place that is taken")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert not one.taken
        assert not one.agents.stays


async def test_an_agent_that_is_there_already_is_as_good(livekit_keys: Keys) -> None:
    """The keeper does not know of it: it has just been started, for example."""
    chosen, room = options(livekit_keys), fresh("room")
    async with replica(chosen) as one, replica(chosen, name="two") as two, one.client as a, two.client as b:
        assert (await a.post(DOOR, json={"room_name": room})).status_code == 201
        assert (await b.post(DOOR, json={"room_name": room})).status_code == 201
        await until(lambda: (one.taken, two.taken) == (1, 0), "an end of the second")
        await delete(livekit_keys, room)


async def test_the_key_is_wanted_where_there_is_one(livekit_keys: Keys) -> None:
    async with replica(options(livekit_keys, token_api_key="open sesame")) as one, one.client as client:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"Authorization": "ö"}):
            headers = [(name.encode(), text.encode()) for name, text in given.items()]
            refused = await client.post(DOOR, headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
            assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert not one.taken
        answer = await client.post(DOOR, headers={"Authorization": "Bearer open sesame"})
        await delete(livekit_keys, claims(answer)["video"]["room"])


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"{", "invalid_json", None),
        (b"\xff\xfe", "invalid_json", None),
        (b'{"\\ud800": 1}', "invalid_json", None),
        (b"[]", "invalid_type", None),
        (b" " * (MAX_BODY_BYTES + 1), "too_long", None),
        (b'{"x": 1}', "unknown_parameter", "x"),
        (b'{"participant_identity": "antiphon-1"}', "not_allowed", "participant_identity"),
        (
            b'{"participant_attributes": {"lk.agent.state": "x"}}',
            "not_allowed",
            "participant_attributes.lk.agent.state",
        ),
        (b'{"room_config": {"egress": {}}}', "not_allowed", "room_config.egress"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_is_wrong_is_named(livekit_keys: Keys, body: bytes, code: str, field: str | None) -> None:
    async with replica(options(livekit_keys), registered=False) as one, one.client as client:
        answer = await client.post(DOOR, content=body)
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["field"]) == (code, field)
        assert error["message"]


async def test_a_livekit_server_that_is_away_is_said() -> None:
    async with replica(options(Keys("ws://127.0.0.1:9", "k", "s" * 43)), registered=False) as one, one.client as client:
        answer = await client.post(DOOR)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "livekit_unavailable")
        assert not one.taken


async def test_the_keeper_s_order_and_a_caller_s_request_bring_one_agent(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys), fresh("room")
    async with keeping(chosen) as keeper, replica(chosen, Near(keeper)) as one, one.client as client:
        await until(lambda: "one" in keeper._lines, "an open line")
        placed, answer = await asyncio.gather(keeper.place(Join(room)), client.post(DOOR, json={"room_name": room}))
        assert placed
        assert answer.status_code == 201
        await until(lambda: set(one.agents.stays) == {room}, "one stay")
        assert isinstance(one.agents.stays[room], Stay)
        assert one.taken == 1
        await delete(livekit_keys, room)
