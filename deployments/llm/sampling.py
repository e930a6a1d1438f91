"""How llama.cpp picks the next token: among likely ones, the one that does not say the same again.

Its own order is the other way round: it lowers the likelihood of what was said, and then keeps what is likely. A word
that was said is then written without the space before it, which is another token, and a small model copies that from
its own answers until whole sentences have no spaces. Here what was unlikely by itself gets no chance; the smallest
models think some words without a space likely all the same, and those remain.

What is lowered is what goes on a sequence that was there before (DRY, "don't repeat yourself"), not each word that
was: the pull back is `sequence_penalty` * 1.75 ^ (length - 2) for the tokens that would make a repeated sequence longer
than 2.
"""

from typing import Any

from deployments.llm.options import LlmOptions

LIKELY = 0.05
"""As likely as the likeliest token times this, or it is not written."""
CANDIDATES = 40
SEQUENCE_TOKENS, SEQUENCE_BASE = 2, 1.75
LOOKED_BACK_TOKENS = 600
"""The prompt of a call on a small machine (`call.max_history_tokens` of configs/local.yaml)."""
NO_BREAKERS = [""]
"""Signs at which a sequence would end. To find the tokens that hold one, llama.cpp looks through the whole vocabulary
for each request, 25 ms for the usual four signs and a small model."""
FORCED_REPEAT_PENALTY = 1.1
"""At least, for a call that must be made: in a grammar that lets a number go on, small models let it go on for ever."""


def sampling(options: LlmOptions, temperature: float, *, forced: bool) -> dict[str, Any]:
    """The fields of a request to llama.cpp's server. `forced`: a tool call must be made."""
    return {
        "samplers": ["top_k", "min_p", "dry", "penalties", "temperature"],
        "top_k": CANDIDATES,
        "min_p": LIKELY,
        "dry_multiplier": options.sequence_penalty,
        "dry_base": SEQUENCE_BASE,
        "dry_allowed_length": SEQUENCE_TOKENS,
        "dry_penalty_last_n": LOOKED_BACK_TOKENS,
        "dry_sequence_breakers": NO_BREAKERS,
        "frequency_penalty": options.frequency_penalty,
        "repeat_penalty": max(options.repeat_penalty, FORCED_REPEAT_PENALTY) if forced else options.repeat_penalty,
        "temperature": temperature,
    }
