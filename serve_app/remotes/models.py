"""Each contract, spoken with a deployment that may lose replicas. The caller of a stream hears a gap, not an error."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from deployments.contracts import SPEECH_RATE_HZ, AudioChunk, LlmItem, Message, Pcm, Tool, Transcript
from deployments.urgency import current_urgency
from serve_app.remotes.answer import UnfinishedAnswer
from serve_app.remotes.request import Request
from serve_app.remotes.sturdy import SturdyRemote


class RemoteAsr(SturdyRemote):
    async def transcribe(
        self, audio: Pcm, *, language: str | None = None, hint: str = "", hasty: bool = False
    ) -> Transcript:
        sort = (len(audio) // SPEECH_RATE_HZ).bit_length()  # long speech takes longer
        how = {"language": language, "hint": hint, "hasty": hasty}
        transcript: Transcript = await self.answer(Request("transcribe", (audio,), how, sort, current_urgency()))
        return transcript


class RemoteLlm(SturdyRemote):
    def generate(
        self,
        messages: Sequence[Message],
        *,
        session_id: str,
        max_tokens: int,
        temperature: float,
        tools: Sequence[Tool] = (),
        tool_choice: str = "auto",
    ) -> AsyncGenerator[LlmItem, None]:
        """An answer that breaks off is gone on with after its text."""
        how = {"session_id": session_id, "temperature": temperature, "tools": tools, "tool_choice": tool_choice}
        return self._generate(UnfinishedAnswer(messages, max_tokens, how, current_urgency()))

    async def _generate(self, answer: UnfinishedAnswer) -> AsyncGenerator[LlmItem, None]:
        async with aclosing(self.items(answer.ask)) as items:
            async for item in items:
                yield answer.take(item)
        if (end := answer.end_without_a_model()) is not None:
            yield end

    async def sentence_end(
        self, messages: Sequence[Message], *, session_id: str, tools: Sequence[Tool] = ()
    ) -> float | None:
        how = {"session_id": session_id, "tools": tools}
        probability: float | None = await self.answer(
            Request("sentence_end", (messages,), how, None, current_urgency())
        )
        return probability


class RemoteTts(SturdyRemote):
    def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[AudioChunk, None]:
        """A phrase that breaks off is spoken again, without the samples that were given already."""
        how = {"voice": voice, "speed": speed}
        return self._speak(Request("speak", (text,), how, voice, current_urgency()))  # a voice may have to be loaded

    async def _speak(self, request: Request) -> AsyncGenerator[AudioChunk, None]:
        given = again = 0

        def ask() -> Request:
            nonlocal again
            again = given
            return request

        async with aclosing(self.items(ask)) as chunks:
            async for chunk in chunks:
                if again >= len(chunk.pcm):
                    again -= len(chunk.pcm)
                    continue
                new = replace(chunk, pcm=chunk.pcm[again:]) if again else chunk
                again = 0
                given += len(new.pcm)
                yield new


class RemoteTurn(SturdyRemote):
    async def end_of_turn(self, audio: Pcm) -> float:
        probability: float = await self.answer(Request("end_of_turn", (audio,), {}, None, current_urgency()))
        return probability
