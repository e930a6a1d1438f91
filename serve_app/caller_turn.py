"""The caller's turn: what is being said, and what was prepared to answer it."""

import asyncio
from dataclasses import dataclass, field

from deployments.contracts import Transcript
from deployments.errors import AntiphonError
from serve_app.conversation.items import MessageItem
from serve_app.conversation.judging import TurnJudge
from serve_app.conversation.stable_text import StableText
from serve_app.conversation.timeline import Moment, Timeline
from serve_app.reply import Reply

ANSWERING: tuple[Moment, ...] = (
    "llm_started",
    "llm_first_token",
    "llm_finished",
    "tts_started",
    "tts_first_audio",
    "tts_finished",
)
"""Moments that did not happen when the answer is dropped unheard."""

Listened = Transcript | AntiphonError
"""A transcript, or why there is none: an error that waits for somebody who wants the transcript."""


@dataclass(frozen=True, slots=True)
class Partial:
    """A transcript of the turn up to `end_sample`, which was begun while the caller spoke."""

    end_sample: int
    began_s: float
    task: asyncio.Future[Listened]


@dataclass(slots=True, eq=False)
class CallerTurn:
    """`first_sample` is on the call's input clock and includes the prefix padding."""

    first_sample: int
    timeline: Timeline
    item: MessageItem = field(default_factory=lambda: MessageItem("user", "", "audio"))
    announced: bool = False
    committed: bool = False
    silent: bool = False
    """Nobody spoke: the turn was begun by the idle timeout."""
    judge: TurnJudge | None = None
    partial: Partial | None = None
    stable: StableText = field(default_factory=StableText)
    told: tuple[str, str] = ("", "")
    """The words that the caller's side knows of, and those among them that are stable."""
    unread_words: int = 0
    """Words that two transcripts had in common, and that the LLM has not read."""
    transcript: asyncio.Task[Listened] | None = None
    reply: Reply | None = None

    def heard_up_to(self, end_sample: int, began_s: float, transcript: Transcript) -> None:
        """Words of the turn that were asked for before anybody knew that it was one."""
        known: asyncio.Future[Listened] = asyncio.get_running_loop().create_future()
        known.set_result(transcript)
        self.partial = Partial(end_sample, began_s, known)
        self.unread_words += self.stable.push(transcript.text)

    def drop_reply(self) -> None:
        """The prepared answer is of no use; the transcript is."""
        if self.reply is not None and self.reply.task is not None:
            self.reply.task.cancel()
        self.reply = None
        self.timeline.take_back(ANSWERING)

    def drop_prepared(self) -> None:
        """The caller went on, or nobody wants an answer: what was made so far is of no use."""
        self.drop_reply()
        self.judge = None
        if self.committed:
            return
        if self.transcript is not None:
            self.transcript.cancel()
            self.transcript = None
        self.timeline.take_back(("caller_stopped", "transcript_started", "transcript_ready"))

    async def heard(self) -> Transcript:
        """The transcript. Raises what went wrong with it; whoever waits may be cancelled, the work goes on."""
        assert self.transcript is not None
        result = await asyncio.shield(self.transcript)
        if isinstance(result, AntiphonError):
            raise result
        return result
