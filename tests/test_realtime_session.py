"""The session that a client sets, and our own events, behind a real web server."""

from serve_app.conversation import messages as m
from serve_app.conversation.items import SemanticVad, ServerVad
from serve_app.transports.realtime_socket import RealtimeSocket, read_extensions
from tests.realtime_kit import VOICES, connected, kinds, update

# --- the session


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    with connected() as (client, call):
        first = update(client, instructions="Sing.", audio={"output": {"voice": "marin", "speed": 1.25}})
        second = update(client, audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}})
        assert second["instructions"] == first["instructions"] == "Sing."
        assert second["audio"]["output"] == first["audio"]["output"]
        assert second["audio"]["input"]["turn_detection"] == {
            "type": "server_vad",
            "threshold": 0.7,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 500,
            "create_response": True,
            "interrupt_response": True,
            "idle_timeout_ms": None,
        }
        assert call.settings is not None
        assert (call.settings.voice, call.settings.speed) == ("marin", 1.25)
        assert call.settings.turn_detection == ServerVad(threshold=0.7)


def test_null_switches_off_or_gives_back_the_default() -> None:
    with connected() as (client, call):
        update(client, instructions="Sing.", max_output_tokens=9)
        off = {"turn_detection": None, "transcription": None, "noise_reduction": None}
        session = update(client, instructions=None, max_output_tokens=None, tracing=None, audio={"input": off})
        assert (session["instructions"], session["max_output_tokens"]) == ("Be brief.", "inf")
        assert session["audio"]["input"]["turn_detection"] is None
        assert call.settings is not None
        assert (call.settings.turn_detection, call.settings.transcribe) == (None, False)
        assert call.settings.max_output_tokens is None


def test_what_clients_routinely_send_is_accepted() -> None:
    with connected() as (client, call):
        tool = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}
        session = update(
            client,
            model="antiphon",
            include=[],
            tools=[tool],
            tool_choice={"type": "function", "name": "f"},
            max_output_tokens=4096,
            output_modalities=["text"],
            truncation="auto",
            audio={
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "transcription": {"model": "whisper-1", "language": "en", "prompt": "names"},
                    "turn_detection": {"type": "semantic_vad", "eagerness": "high", "interrupt_response": False},
                },
                "output": {"voice": {"id": "alloy"}},
            },
        )
        assert session["tools"] == [tool]
        assert session["audio"]["output"]["voice"] == "alloy"
        assert session["audio"]["input"]["transcription"]["model"] == "whisper-1"
        settings = call.settings
        assert settings is not None
        assert settings.turn_detection == SemanticVad("high", interrupt_response=False)
        assert (settings.tool_choice, settings.output, settings.language) == ("f", "text", "en")
        assert settings.hint == "names"


def test_the_session_shows_the_voice_in_use_and_the_call_learns_only_a_chosen_one() -> None:
    with connected(greet=False) as (client, call):
        assert client.until("session.created")[-1]["session"]["audio"]["output"]["voice"] == VOICES[0]
        assert update(client, instructions="Sing.", include=None)["audio"]["output"]["voice"] == VOICES[0]
        assert call.settings is not None
        assert call.settings.voice is None
        client.send({"type": "response.create"})
        assert client.until("response.done")[-1]["response"]["audio"]["output"]["voice"] == VOICES[0]
        assert update(client, audio={"output": {"voice": "marin"}})["audio"]["output"]["voice"] == "marin"
        assert call.settings.voice == "marin"
        assert update(client, audio={"output": {"voice": None}})["audio"]["output"]["voice"] == VOICES[0]
        assert call.settings.voice is None


# --- our own events


async def tell_everything(socket: RealtimeSocket) -> None:
    await socket.send_event(m.StateChanged("hearing"))
    await socket.send_event(m.TranscribedSoFar("item_1", "what is the", 7))
    await socket.send_event(m.TurnTimed({"voice_to_voice_ms": 1}))
    await socket.send_event(m.AudioCleared())


def test_our_own_events_are_sent_only_to_those_who_asked() -> None:
    for query, expected in (
        ("", []),
        ("&antiphon_events=state.v1", ["antiphon.state.v1"]),
        ("&antiphon_events=timeline.v1,state.v1", ["antiphon.state.v1", "antiphon.timeline.v1"]),
        ("&antiphon_events=transcript.v1", ["antiphon.transcript.v1"]),
    ):
        with connected(query) as (client, call):
            assert client.websocket.portal is not None
            client.websocket.portal.call(tell_everything, call.socket)
            assert kinds(client.until("input_audio_buffer.cleared"))[:-1] == expected


def test_an_unknown_event_of_ours_is_refused_by_name() -> None:
    with connected("&antiphon_events=timeline.v9") as (client, _):
        error = client.event()["error"]
        assert "timeline.v9" in error["message"]
        assert "timeline.v1" in error["message"]
    assert read_extensions(" a, ,b") == {"a", "b"}
    assert read_extensions(None) == frozenset()
