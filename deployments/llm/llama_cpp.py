"""llama.cpp, in process, through the wheel `xllamacpp`: its server's slots, prompt cache, chat templates and tools.

The server also listens on a port of 127.0.0.1 that nobody asked for; a random key closes it.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from deployments.contracts import Capabilities, Finished, LlmItem, Message, ModelFiles, Tool, Usage
from deployments.errors import BadModel, BadRequest, ModelFailed
from deployments.llm.answer import AnswerReader, server_error
from deployments.llm.chat import ChatFormat
from deployments.llm.gguf import read_head
from deployments.llm.hand_over import HandOver
from deployments.llm.options import LlmOptions
from deployments.llm.requantise import fast_weights
from deployments.llm.sampling import sampling
from deployments.llm.sentence_end import CANDIDATES, OpenPrompt, end_probability
from deployments.llm.slots import Kept, Slots
from deployments.priority import standing_back

try:
    import xllamacpp
except ModuleNotFoundError:
    raise  # the package is not installed: the deployment says which one to install
except ImportError as missing:  # it is, but a shared library is not: libgomp, on very bare systems
    raise BadModel(f"llama.cpp cannot start: {missing} (on Debian: apt install libgomp1)") from missing

WEIGHTS = "model.gguf"
CHUNKS_AHEAD = 64
"""Chunks that the thread may be ahead of the reader, a second or two of answer. Beyond that the thread waits;
llama.cpp itself then runs on to `max_tokens` at most."""

Chunk = dict[str, Any]
Work = Callable[[Any, Chunk, Callable[[Chunk], bool]], None]


class LlamaCpp:
    """One GGUF model. Every session keeps its prompt in a slot, so that a turn costs only its new tokens."""

    def __init__(self, server: Any, chat: ChatFormat, template: str, options: LlmOptions) -> None:
        self._server = server
        self._chat = chat
        self._open = OpenPrompt(template, chat)
        self._options = options
        self._slots = Slots(options.slots)
        self._threads = ThreadPoolExecutor(options.slots, thread_name_prefix="llama")  # a slot serves one at a time

    @classmethod
    def load(cls, files: ModelFiles | None, options: LlmOptions) -> "LlamaCpp":
        """Blocking, seconds. Raises `BadModel` for files that llama.cpp cannot use."""
        if files is None or WEIGHTS not in files.paths:
            raise BadModel(f"{options.model} has no file named {WEIGHTS}")
        path = files.paths[WEIGHTS]
        head = read_head(path)
        template = options.chat_template or head.chat_template
        if not template:
            raise BadModel(f"{path} has no chat template: it is not made for conversation")
        try:
            used = _fast(path, options)
            server = standing_back(options.niceness, lambda: xllamacpp.Server(_parameters(str(used), options)))
        except RuntimeError as error:
            raise BadModel(f"llama.cpp cannot load {path}: is it damaged, or too large for the memory?") from error
        _warm_up(server)
        return cls(server, ChatFormat(native_tools="tools" in template, signs=head.signs), template, options)

    def capabilities(self) -> Capabilities:
        return Capabilities(streaming=True, tools=True)

    async def unload(self) -> None:
        """Waits for the running answers: close their streams first."""
        threads, server, self._server = self._threads, self._server, None
        await asyncio.to_thread(threads.shutdown)
        await asyncio.to_thread(_drop, [server])

    def kept(self) -> Kept:
        """Whose prompts are in memory."""
        return self._slots.kept()

    @property
    def busy_slots(self) -> int:
        """Slots that work on a request now."""
        return self._slots.busy

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        session_id: str,
        max_tokens: int,
        temperature: float,
        tools: Sequence[Tool] = (),
        tool_choice: str = "auto",
    ) -> AsyncGenerator[LlmItem, None]:
        """As `contracts.Llm.generate`; the request has been checked."""
        usable = () if tool_choice == "none" else tools
        body = {
            **self._chat.body(messages, usable, tool_choice),
            "max_tokens": max_tokens,
            **sampling(self._options, temperature, forced=bool(usable) and tool_choice != "auto"),
            "cache_prompt": True,
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,  # a chunk per batch of the prompt: the places where it can be stopped
        }
        answer = AnswerReader([tool.name for tool in usable])
        async with self._slots.use(session_id) as slot:
            chunks = self._chunks(_answer, {**body, "id_slot": slot})
            try:
                async for chunk in chunks:
                    for item in answer.push(chunk):
                        if max_tokens:
                            yield item
                    if answer.going_round:
                        break
            finally:
                await chunks.aclose()
        for item in answer.finish():
            if max_tokens:
                yield item
            elif isinstance(item, Finished):  # the server makes one token even when asked for none
                yield Finished("length", Usage(item.usage.prompt_tokens, item.usage.cached_tokens, 0))

    async def sentence_end(
        self, messages: Sequence[Message], *, session_id: str, tools: Sequence[Tool] = ()
    ) -> float | None:
        """As `contracts.Llm.sentence_end`."""
        prompt = self._open.up_to_last_word(messages, tools)
        if prompt is None:
            return None
        body = {
            "prompt": prompt,
            "n_predict": 1,
            "n_probs": CANDIDATES,
            "cache_prompt": True,
            "stream": True,
            "return_progress": True,
        }
        async with self._slots.use(session_id) as slot:
            chunks = self._chunks(_complete, {**body, "id_slot": slot})
            found: float | None = None
            try:
                async for chunk in chunks:
                    if "error" in chunk:
                        raise server_error(chunk["error"])
                    found = end_probability(chunk) if found is None else found
            finally:
                await chunks.aclose()
        return found

    async def _chunks(self, work: Work, body: Chunk) -> AsyncGenerator[Chunk, None]:
        """The server's chunks. Closing it stops the work, and returns when the thread has ended."""
        handed: HandOver[Chunk] = HandOver(CHUNKS_AHEAD, self._options.deadline_s)
        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(self._threads, work, self._server, body, handed.put)
        working.add_done_callback(lambda _: handed.end())
        try:
            async for chunk in handed.items():
                yield chunk
            await working
        except ValueError as error:  # a C++ std::invalid_argument
            raise BadRequest(f"the model refused the request: {error}") from error
        except RuntimeError as error:
            raise ModelFailed(f"llama.cpp failed: {error}") from error
        finally:
            handed.close()
            await _ended(working)


def _answer(server: Any, body: Chunk, put: Callable[[Chunk], bool]) -> None:
    """In a thread. The server goes on as long as its callback returns False."""
    server.handle_chat_completions(body, lambda chunk: not put(chunk))


def _complete(server: Any, body: Chunk, put: Callable[[Chunk], bool]) -> None:
    """The same for a prompt that is written already."""
    server.handle_completions(body, lambda chunk: not put(chunk))


async def _ended(work: asyncio.Future[None]) -> None:
    """Wait for a stopped thread, a batch of the prompt at most, even while being cancelled: the slot is still its."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as again:
            cancelled = again
    if not work.cancelled():
        work.exception()  # it was raised where the chunks were read, or nobody reads any more
    if cancelled:
        raise cancelled


def _drop(servers: list[Any]) -> None:
    servers.clear()  # the last reference: its destructor stops the server's thread


def _fast(path: Path, options: LlmOptions) -> Path:
    """Raises RuntimeError for a file that cannot be read, as the server does."""
    if options.gpu_layers or path.stat().st_size >= options.rewrite_below_mb * 1_000_000:
        return path
    try:
        return fast_weights(path)
    except Exception as broken:  # the library raises whatever comes to it
        raise RuntimeError(f"{path} cannot be read: {broken}") from broken


def _warm_up(server: Any) -> None:
    """The first prompt after loading touches every weight; it must not be a caller's."""
    words = [{"role": "user", "content": "Say hello, please, and count slowly from one up to ten."}]
    answer = server.handle_chat_completions({"messages": words, "max_tokens": 2, "cache_prompt": False})
    if "error" in answer:
        raise BadModel(f"the model cannot answer: {answer['error'].get('message')}")


def _parameters(path: str, options: LlmOptions) -> Any:
    p = xllamacpp.CommonParams()
    p.model.path = path
    p.n_ctx = options.context_tokens
    p.n_parallel = options.slots
    p.n_batch = p.n_ubatch = options.prefill_batch_tokens
    p.cpuparams.n_threads = p.cpuparams_batch.n_threads = options.threads
    p.n_gpu_layers = options.gpu_layers
    flash = xllamacpp.llama_flash_attn_type
    p.flash_attn_type = (
        flash.LLAMA_FLASH_ATTN_TYPE_ENABLED if options.flash_attention else flash.LLAMA_FLASH_ATTN_TYPE_DISABLED
    )
    if options.chat_template:
        p.chat_template = options.chat_template
    p.use_jinja = True
    p.kv_unified = False  # each slot its own share: a long conversation cannot push another one out
    p.cache_ram_mib = 0  # else up to 8 GiB of old prompts are copied aside, in the time of the next request
    p.cache_idle_slots = False
    p.ctx_shift = False  # a conversation too long is refused, not silently beheaded
    p.fit_params = False  # the numbers above are meant
    p.verbosity = 0
    p.ui = p.endpoint_slots = p.endpoint_metrics = p.endpoint_props = False
    p.n_threads_http = 1
    p.api_keys = [secrets.token_urlsafe(32)]
    return p
