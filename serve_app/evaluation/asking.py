"""What the models say over the pauses of clips, asked as a call asks them, with how long they took."""

import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

from deployments.contracts import SPEECH_RATE_HZ, Asr, Llm, Message, TextDelta, TurnDetector, VoiceActivity
from serve_app.call_options import CallOptions
from serve_app.conversation.items import SemanticVad
from serve_app.conversation.listening import VoicePaused, VoiceResumed, VoiceStarted, milliseconds, samples
from serve_app.conversation.phrases import SpokenPhrases
from serve_app.conversation.vad_batch import BatchedVoiceActivity
from serve_app.ear import Ear
from serve_app.evaluation.clips import Clip
from serve_app.evaluation.pauses import NEAR_MS, WINDOW_MS, Latencies, Pause
from serve_app.listener import TURN_MODEL_SAMPLES

T = TypeVar("T")
CLOSELY_MS, SPARSELY_MS, LAST_MS = 256, 160, 1300
"""The turn model is asked after every window up to `CLOSELY_MS`, from there every `SPARSELY_MS`: its answers hardly
change any more, and each costs as much as ten windows of everything else."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A pause as the voice detector finds it: samples of the clip. `resumed_at` None: the clip ends with it."""

    turn_from: int
    last_voiced: int
    paused_at: int
    resumed_at: int | None


@dataclass(slots=True)
class Models:
    """The models of a config, with the times that they took."""

    asr: Asr
    llm: Llm
    turn: TurnDetector
    vad: VoiceActivity
    options: CallOptions
    _took_ms: dict[str, list[float]] = field(default_factory=lambda: {"turn": [], "transcript": [], "sentence_end": []})

    def latencies(self) -> Latencies:
        turn, transcript, sentence_end = (median(times or [0.0]) for times in self._took_ms.values())
        return Latencies(turn, transcript, sentence_end)

    async def timed(self, what: str, work: Awaitable[T]) -> T:
        started = time.perf_counter()
        result = await work
        self._took_ms[what].append((time.perf_counter() - started) * 1000)
        return result


async def pauses_of(models: Models, clip: Clip) -> list[Pause]:
    """Every pause of the clip, with the models' opinions."""
    return [await _asked(models, clip, gap) async for gap in gaps(models, clip)]


async def gaps(models: Models, clip: Clip) -> AsyncIterator[Gap]:
    """Heard as a call hears it."""
    ear = Ear(BatchedVoiceActivity(models.vad), models.options.listening, SemanticVad())
    turn_from, begun = 0, None
    async for fact in ear.hear(clip.audio):
        now = ear.hearing.next_sample
        if isinstance(fact, VoiceStarted):
            turn_from = max(0, fact.first_sample - ear.prefix_samples)
        elif isinstance(fact, VoicePaused):
            begun = Gap(turn_from, fact.last_voiced_sample, now, None)
        elif isinstance(fact, VoiceResumed) and begun is not None:
            yield Gap(begun.turn_from, begun.last_voiced, begun.paused_at, now)
            begun = None
    if begun is not None:
        yield begun


async def _asked(models: Models, clip: Clip, gap: Gap) -> Pause:
    lasts_ms = None if gap.resumed_at is None else milliseconds(gap.resumed_at - gap.last_voiced)
    heard = await models.timed("transcript", models.asr.transcribe(clip.audio[gap.turn_from : gap.paused_at]))
    return Pause(
        clip=clip.name,
        kind=kind_of(clip, gap),
        source=clip.source,
        held_out=clip.held_out,
        text=heard.text.strip(),
        lasts_ms=lasts_ms,
        sounds=tuple([(ms, await _sound(models, clip, gap, ms)) for ms in moments(lasts_ms)]),
        sentence_end=await _sentence_end(models, clip.name, heard.text.strip()),
    )


def kind_of(clip: Clip, gap: Gap) -> str:
    if gap.resumed_at is None:
        return "end"
    put_in = clip.pause_at is not None and abs(gap.last_voiced - clip.pause_at) <= samples(NEAR_MS)
    return clip.kind if put_in else "within"


def moments(lasts_ms: int | None) -> Sequence[int]:
    """The silences in ms after which the turn model is asked in a pause that lasts so long."""
    closely = range(2 * WINDOW_MS, CLOSELY_MS, WINDOW_MS)
    sparsely = range(closely[-1] + SPARSELY_MS, LAST_MS, SPARSELY_MS)
    return [ms for ms in (*closely, *sparsely) if lasts_ms is None or ms < lasts_ms]


async def _sound(models: Models, clip: Clip, gap: Gap, silence_ms: int) -> float:
    end = gap.last_voiced + silence_ms * SPEECH_RATE_HZ // 1000
    audio = clip.audio[max(gap.turn_from, end - TURN_MODEL_SAMPLES) : end]
    return round(await models.timed("turn", models.turn.end_of_turn(audio)), 4)


async def _sentence_end(models: Models, session_id: str, text: str) -> float | None:
    """As in the first turn of a call, whose instructions have been read already. Without words nobody asks."""
    if not text:
        return None
    instructions = Message("system", models.options.instructions)
    read = models.llm.generate([instructions], session_id=session_id, max_tokens=0, temperature=0)
    async with aclosing(read) as items:
        async for _ in items:
            pass
    asked = _opinion(models, [instructions, Message("user", text)], session_id)
    found = await models.timed("sentence_end", asked)
    return None if found is None else round(found, 5)


async def _opinion(models: Models, messages: Sequence[Message], session_id: str) -> float | None:
    """Behind the first phrase, where a call asks for it there."""
    options, phrases = models.options, SpokenPhrases()
    if options.first_phrase_alone:
        written = models.llm.generate(
            messages, session_id=session_id, max_tokens=options.max_answer_tokens, temperature=options.temperature
        )
        async with aclosing(written) as items:
            async for item in items:
                if isinstance(item, TextDelta) and phrases.push(item.text):
                    break
    return await models.llm.sentence_end(messages, session_id=session_id)
