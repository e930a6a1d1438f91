"""The caller's words: asked of the ASR, told to the caller's side, and put before the LLM."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deployments.contracts import SPEECH_RATE_HZ, Message, Pcm, Transcript
from deployments.errors import AntiphonError, ModelFailed
from deployments.urgency import Priority, urgent
from serve_app.caller_turn import CallerTurn, Listened, Partial
from serve_app.conversation.history import messages
from serve_app.conversation.items import AnswerOptions, Item, MessageItem
from serve_app.conversation.messages import Transcribed, TranscribedPart, TranscribedSoFar, TranscriptionFailed
from serve_app.conversation.timeline import Timeline

if TYPE_CHECKING:
    from serve_app.call import Call

log = logging.getLogger("antiphon.call")

PARTIAL_WITHIN_S = 1.0
"""Words of somebody who speaks on that were not begun by then are asked for again, with what was said since."""
SILENCE_PROMPT = "The caller has been silent for a while. Ask in one short sentence whether they are still there."


def ask_for_words(call: "Call", turn: CallerTurn, audio: Pcm) -> None:
    """Begin the transcript of this audio of the turn's: int16[n] at 16 kHz."""
    turn.transcript = call.spawn(_transcribe(call, turn, audio))


def adopt_words(call: "Call", turn: CallerTurn, partial: Partial, audio: Pcm) -> None:
    """Nothing was said since this partial transcript was begun: it is the transcript of the turn so far."""
    if not partial.task.done():
        call.stage.models.promote("asr", call.stage.session_id)
    turn.transcript = call.spawn(_adopt(call, turn, partial, audio))


async def understand(call: "Call", audio: Pcm, *, hasty: bool = False) -> Listened:
    """The words in it, or why there are none."""
    settings, limit_s = call.settings, call.stage.options.deadlines.transcript_s
    urgency = (Priority.PARTIAL, PARTIAL_WITHIN_S) if hasty else (Priority.FIRST_PHRASE, limit_s)
    transcribing = call.stage.common.back_off.transcribing(len(audio) / SPEECH_RATE_HZ)
    try:
        async with asyncio.timeout(limit_s):
            with urgent(*urgency, call.stage.session_id), transcribing:
                return await call.stage.models.asr.transcribe(
                    audio, language=settings.language, hint=settings.hint, hasty=hasty
                )
    except TimeoutError:
        return ModelFailed("the transcript did not come in time")
    except AntiphonError as failed:
        return failed


async def _transcribe(call: "Call", turn: CallerTurn, audio: Pcm) -> Listened:
    turn.timeline.restamp("transcript_started", speculative=not turn.committed)
    return _ready(call, turn, await understand(call, audio))


async def _adopt(call: "Call", turn: CallerTurn, partial: Partial, audio: Pcm) -> Listened:
    turn.timeline.restamp("transcript_started", at_s=partial.began_s, speculative=not turn.committed)
    listened = await asyncio.shield(partial.task)  # it goes on where the caller does
    if isinstance(listened, AntiphonError) or listened.doubtful:
        return await _transcribe(call, turn, audio)
    return _ready(call, turn, listened)


def _ready(call: "Call", turn: CallerTurn, listened: Listened) -> Listened:
    if isinstance(listened, AntiphonError):
        return listened
    turn.timeline.restamp("transcript_ready", speculative=not turn.committed)
    if listened.text and not turn.committed and turn.announced and call.settings.transcribe:
        stable = turn.stable.text
        call.stage.outbox.tell(
            TranscribedSoFar(turn.item.id, listened.text, len(stable) if listened.text.startswith(stable) else 0)
        )
    return listened


async def tell_words(call: "Call", turn: CallerTurn) -> None:
    """Put a committed turn's words into its item, and tell the caller's side, if it wants to know."""
    assert turn.item.audio is not None
    seconds = len(turn.item.audio) / SPEECH_RATE_HZ
    try:
        turn.item.text = text = (await turn.heard()).text
    except AntiphonError as failed:
        if call.settings.transcribe:
            call.stage.outbox.tell(TranscriptionFailed(turn.item.id, str(failed)))
        return
    if call.settings.transcribe:
        if text:
            call.stage.outbox.tell(TranscribedPart(turn.item.id, text))
        call.stage.outbox.tell(Transcribed(turn.item.id, text, seconds))
    call.keep()


async def read_history(call: "Call") -> None:
    """Let the LLM read what stands before whatever comes next, while nobody waits: the next answer begins sooner."""
    limit_s = call.stage.options.deadlines.first_token_s
    with urgent(Priority.SPECULATION, limit_s, call.stage.session_id):
        await _read(call, limit_s)


async def _read(call: "Call", limit_s: float) -> None:
    stream = call.stage.models.llm.generate(
        call.stage.history.prompt(call.settings.instructions),
        session_id=call.stage.session_id,
        max_tokens=0,
        temperature=call.stage.options.temperature,
        tools=call.settings.tools,
        tool_choice=call.settings.tool_choice,
    )
    try:
        async with asyncio.timeout(limit_s):
            async for _ in stream:
                pass
    except (AntiphonError, TimeoutError) as failed:
        log.warning("the conversation was not read in advance: %s", failed)
    finally:
        await stream.aclose()


def spoken_item(call: "Call", item: Item) -> CallerTurn | None:
    """A message that the client recorded itself is a turn whose words are not known yet; None for other items."""
    if not isinstance(item, MessageItem) or item.audio is None or item.text:
        return None
    turn = CallerTurn(0, Timeline(0), item=item, committed=True)
    ask_for_words(call, turn, item.audio)
    return turn


def remembered_turn(call: "Call", item: MessageItem) -> CallerTurn:
    """What the caller said before this call, and is to be answered now."""

    async def words() -> Listened:
        return Transcript(item.text, (), 0.0, 0, call.settings.language or "")

    turn = CallerTurn(0, Timeline(0), item=item, committed=True)
    turn.timeline.stamp("turn_judged")
    turn.transcript = call.spawn(words())
    return turn


async def prompt_for(
    call: "Call", options: AnswerOptions | None, turns: Sequence[CallerTurn]
) -> Sequence[Message] | None:
    """What the LLM is to see for an answer to `turns`, the last of which may still be uncommitted.

    `options` None: nobody asked for the answer, it follows from the turn. Then a turn without words gets none: None.
    Raises what kept the last turn's words from being known; an earlier one's are left out.
    """
    last: list[Message] = []
    for turn in turns:
        last = [Message("system", SILENCE_PROMPT)] if turn.silent else await _words(turn, needed=turn is turns[-1])
    if turns and not last and options is None:
        return None
    options = options or AnswerOptions()
    instructions = options.instructions or call.settings.instructions
    if options.input is not None:
        chosen = [call.stage.history.get(item) if isinstance(item, str) else item for item in options.input]
        return [Message("system", instructions), *messages(chosen)]
    prompt = call.stage.history.prompt(instructions)
    in_history = not turns or (turns[-1].committed and not turns[-1].silent)
    return prompt if in_history else [*prompt, *last]


async def _words(turn: CallerTurn, *, needed: bool) -> list[Message]:
    try:
        text = (await turn.heard()).text
    except AntiphonError:
        if needed:
            raise
        return []
    if turn.committed:
        turn.item.text = text  # in the history, at its place
    return [Message("user", text.strip())] if text.strip() else []
