"""The `call` section of the YAML: how a call goes."""

from typing import Literal

from pydantic import Field

from cluster.circuit import FIRST_PAUSE_S, LONGEST_PAUSE_S
from deployments.options import Options

DEFAULT_INSTRUCTIONS = (
    "You are a friendly voice assistant on a phone call. Answer in at most two short sentences, in plain spoken words."
)


BACKCHANNELS = (
    *("mhm", "mm", "hm", "mm-hm", "mm-hmm", "uh-huh", "uh", "um", "ah", "oh", "aha", "huh", "wow"),
    *("yeah", "yep", "yup", "ok", "okay", "right", "all right", "alright", "sure", "i see", "got it"),
    *("of course", "exactly", "indeed", "cool", "nice", "great", "good"),
)
"""Said while somebody else speaks, and no reason to stop. English; other languages have their own."""
HUMS = ("mhm", "mm", "hm", "mm-hm", "mm-hmm", "hm-hm", "uh-huh", "aha")
"""Those among them that begin no sentence."""


STOP = (
    *("stop", "stop it", "stop talking", "stop please", "please stop", "please stop talking", "okay stop", "ok stop"),
    *("be quiet", "quiet please", "please be quiet", "shut up"),
)
REPEAT = (
    *("repeat that", "repeat that please", "please repeat that", "please repeat", "can you repeat that"),
    *("could you repeat that", "could you repeat that please", "repeat", "say that again", "say it again"),
    *("please say that again", "say that again please", "can you say that again", "could you say that again"),
    *("could you say that again please", "one more time please", "come again"),
)
GOODBYE = (
    *("goodbye", "good bye", "bye bye", "bye now", "goodbye now", "okay bye", "ok bye", "okay goodbye", "ok goodbye"),
    *("okay bye bye", "ok bye bye", "thanks bye", "thanks goodbye", "thank you bye", "thank you goodbye"),
    *("thank you bye bye", "thanks bye bye", "goodbye and thank you", "goodbye and thanks"),
)
"""English. A bare "bye" is not among them: small Whisper models hear it in noise."""


class PhraseOptions(Options):
    """Said alone, these are obeyed at once and without the LLM; within a longer sentence they are words as others.
    In the language of the calls. An empty list switches one off."""

    stop: tuple[str, ...] = Field(STOP, description="The agent falls silent, and nothing is answered.")
    repeat: tuple[str, ...] = Field(REPEAT, description="It speaks its last answer again.")
    goodbye: tuple[str, ...] = Field(GOODBYE, description="It says its last words and ends the call.")


class ListeningOptions(Options):
    """When is somebody speaking? Windows are 32 ms, the length that Silero VAD was trained on."""

    onset_probability: float = Field(0.5, ge=0, le=1, description="From this probability of voice a window is voiced.")
    release_probability: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Voice goes on until below this. Lower than the onset it would flutter less, if it did: Silero "
        "does not, and at .35 the end of speech is noticed 13 ms later.",
    )
    onset_windows: int = Field(
        2, ge=1, le=10, description="Voiced windows in a row that make speech: one may be a click."
    )
    pause_ms: int = Field(64, ge=32, le=2000, description="Silence after which answering is prepared, unheard.")
    prefix_padding_ms: int = Field(300, ge=0, le=2000, description="Audio kept from before the first voiced window.")
    partials: bool = Field(
        True,
        description="Transcribe while the caller speaks: they see their words, the LLM reads them in advance, and the "
        "transcript of a turn is begun at the first break of the voice.",
    )
    partial_from_ms: int = Field(192, ge=32, description="Voice before the first of them: of less, words are guessed.")
    partial_every_ms: int = Field(
        200, ge=32, description="And then after this much more, or three times what the last one took, if that is more."
    )
    partial_until_s: float = Field(
        12.0, ge=0, description="None for speech longer than this: each costs as much as all that was said."
    )
    max_turn_s: float = Field(120.0, gt=0, description="A turn longer than this is taken as over: memory is bounded.")


class TurnTakingOptions(Options):
    """When is the caller's turn over? Two models say how likely: one by the sound, asked at the pause and again while
    the silence lasts, one by the words. Together they make a certainty, and the certainty a silence to wait for:
    certainly over after `min_silence_ms`, certainly not before the eagerness' longest, in between by equal ratios."""

    sound_weight: float = Field(
        0.1, ge=0, le=10, description="How much the turn model's log-odds count. Fitted by `serve_app.evaluation`."
    )
    words_weight: float = Field(1.26, ge=0, le=10, description="How much the LLM's log-odds count, likewise.")
    certainty_offset: float = Field(
        2.74,
        ge=-20,
        le=20,
        description="Added to the log-odds, likewise: small models rarely say that a sentence is whole.",
    )
    unknown_probability: float = Field(
        0.1, ge=0, le=1, description="Taken for the turn model's probability while it says nothing."
    )
    unknown_sentence: float = Field(
        0.2, ge=0, le=1, description="Taken for the LLM's where it says nothing, or is not asked."
    )
    ask_llm: bool = Field(
        True,
        description="Ask the LLM as well whether the sentence is over. It costs no time: the answer's prompt is "
        "prepared by it.",
    )
    words_wait_ms: int = Field(
        600,
        ge=0,
        description="Not before this silence while the LLM has not said: until it has, no answer begins either.",
    )
    min_silence_ms: int = Field(
        224, ge=0, description="The least silence. The answer's first sound is hardly ever ready sooner."
    )
    ask_from_ms: int = Field(64, ge=0, description="The turn model is first asked after this silence.")
    ask_every_ms: int = Field(
        800,
        ge=32,
        description="While the silence lasts the turn model is asked again this often. Every 150 ms it judges no "
        "better, and takes from the other models, just when they prepare the answer, a core for a quarter of a second.",
    )
    low_silence_ms: int = Field(
        8000, ge=0, description="Eagerness low: over at the latest after this, as OpenAI has it."
    )
    medium_silence_ms: int = Field(
        3000,
        ge=0,
        description="The same for eagerness medium and auto; a second less than OpenAI's, which few pauses need.",
    )
    high_silence_ms: int = Field(2000, ge=0, description="The same for eagerness high.")
    barge_in: Literal["words", "voice"] = Field(
        "words",
        description="What stops the agent for good when the caller makes a sound: `words`, so that it speaks on after "
        "its own echo, noise and backchannels, or `voice` alone.",
    )
    early_pause: bool = Field(
        True,
        description="The agent falls silent as soon as there is voice over its own, and then it is judged what that "
        "is. Off: it speaks until an interruption is certain, a third of a second longer, and through everything else.",
    )
    barge_in_windows: int = Field(
        1,
        ge=1,
        le=10,
        description="Voiced windows in a row that make an agent who speaks fall silent: fewer than `onset_windows`, "
        "because it goes on where that was a click.",
    )
    interruption_ms: int = Field(
        160,
        ge=0,
        description="Less voice over the agent's than this was a cough or a click. From this on the ASR is asked what "
        "is said; where voice alone decides, it is an interruption.",
    )
    hold_ms: int = Field(
        400,
        ge=0,
        description="Silence after which an agent speaks on who fell silent for a sound too short to be read.",
    )
    words_every_ms: int = Field(
        160, ge=32, description="After so much more voice the ASR is asked again: a word has about 300 ms."
    )
    unheard_ms: int = Field(
        450, ge=0, description="Voice for this long is an interruption when the ASR has not answered yet."
    )
    faint_dbfs: float = Field(
        -55.0, le=0, description="But not when it is fainter than this: somebody else, far from the microphone."
    )
    undecided_ms: int = Field(
        1500,
        ge=0,
        description="The agent is silent for a doubtful sound no longer than this: then one without words is noise, "
        "and anything else an interruption.",
    )
    louder_db: float = Field(
        9.0, ge=0, description="The agent falls silent for noise again once it is louder by this, or after a pause."
    )
    yield_ms: int = Field(
        200,
        ge=0,
        le=1000,
        description="Whoever speaks within this time of the answer's first sound had only paused, for nobody reacts so "
        "fast. If it was nothing, the answer begins anew; later it goes on with the word that was broken.",
    )
    backchannels: tuple[str, ...] = Field(
        BACKCHANNELS, description="What a caller says without wanting the turn, in the language of the calls."
    )
    backchannel_silence_ms: int = Field(
        260,
        ge=0,
        description="Silence after a backchannel, or a sound without words, that makes sure that nothing follows: "
        "between words are up to 200.",
    )
    hums: tuple[str, ...] = Field(
        HUMS,
        description="Backchannels that begin no sentence: the agent speaks on as soon as it knows that it hears one.",
    )
    hum_ms: int = Field(
        700,
        ge=0,
        description="A hum lasts no longer than this. Whoever goes on for longer is saying something, and the agent "
        "falls silent for it again; 0: hums are backchannels as others.",
    )
    echo_likeness: float = Field(
        0.55,
        ge=0,
        le=1,
        description="From this likeness a sound is the agent's own voice. Unrelated speech seldom reaches .5.",
    )
    echo_doubt: float = Field(
        0.42, ge=0, le=1, description="From this likeness words count only after `unheard_ms`: an echo has words too."
    )


class SilenceOptions(Options):
    """What the agent does about a caller who says nothing. Not where the caller's side sets `idle_timeout_ms`."""

    still_there_after_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Silence after which the caller is asked once whether they are there; after as much again the call "
        "is ended. 0: never, for who leaves a page open may want just that.",
    )
    still_there: str = Field("Are you still there?", description="What they are asked.")


class Deadlines(Options):
    """How long each wait may take. Past it the turn fails, and the agent says so."""

    transcript_s: float = Field(15.0, gt=0, description="From the request to the transcript.")
    first_token_s: float = Field(15.0, gt=0, description="From the request to the LLM's first word.")
    next_token_s: float = Field(10.0, gt=0, description="Between words of the LLM.")
    first_audio_s: float = Field(15.0, gt=0, description="From a phrase's text to its first audio.")
    next_audio_s: float = Field(10.0, gt=0, description="Between chunks of one phrase's audio.")
    barge_in_words_s: float = Field(
        1.0, gt=0, description="The words of a sound that made the agent fall silent; without them voice decides."
    )
    end_of_turn_s: float = Field(1.0, gt=0, description="The turn model's answer; without one the silence decides.")
    answer_s: float = Field(
        20.0, gt=0, description="From the end of the caller's turn to the answer's first sound, whatever is waited for."
    )


class FailureOptions(Options):
    """When is a replica of a model taken for frozen, where another one could answer? The request is then given to that
    one, and the frozen one is not asked for a while. What is usual is learned from the answers themselves."""

    stall_factor: float = Field(
        3.0,
        ge=1,
        le=100,
        description="An item that takes so many times as long as nine in ten did lately does not come any more. Work "
        "that was only slow is lost by it, so not less.",
    )
    least_stall_ms: int = Field(
        500,
        ge=50,
        le=60_000,
        description="But nothing is late before this: below it a busy machine, a collection of garbage or a burst of "
        "requests is more likely, and a caller takes so long a gap for a pause.",
    )
    longest_stall_ms: int = Field(
        5000,
        ge=50,
        le=60_000,
        description="And everything is after this, also what was never seen, such as a voice that must be loaded: the "
        "other replica has the rest of the deadline.",
    )
    first_avoid_s: float = Field(
        FIRST_PAUSE_S,
        gt=0,
        description="So long a replica that failed or froze is not asked; then one request tries it again.",
    )
    longest_avoid_s: float = Field(
        LONGEST_PAUSE_S,
        gt=0,
        description="Where that fails too, twice as long, up to this: each try costs a caller a gap, but a replica "
        "that has thawed must be known to answer before the next one fails.",
    )


class CallOptions(Options):
    """How a call goes, where the caller does not choose otherwise."""

    instructions: str = Field(DEFAULT_INSTRUCTIONS, description="What the LLM is told before the conversation.")
    sorry: str = Field(
        "Sorry, I could not answer that. Please say it again.",
        min_length=1,
        description="Spoken when no model answers in time. Made into sound at the start and kept.",
    )
    greeting: str = Field(
        "", description="The agent's first words, when the caller is there. Empty: it waits for theirs."
    )
    filler: str = Field(
        "One moment, please.",
        description="Said once a turn where the answer is late. Empty: nothing. The LLM never sees it.",
    )
    filler_after_ms: int = Field(
        3000,
        ge=0,
        le=60_000,
        description="Late is an answer without a sound so long after the turn was over. After 3 s callers ask whether "
        "anybody is there; much sooner it would stand in the way of answers that are nearly ready.",
    )
    goodbye: str = Field("Goodbye.", description="The agent's last words where it ends the call. Empty: none.")
    max_answer_tokens: int = Field(80, ge=1, le=4096, description="An answer's limit: about 25 s of speech.")
    max_history_tokens: int = Field(
        1200, ge=64, description="Estimated length from which the oldest turns are left out of the prompt."
    )
    temperature: float = Field(0.3, ge=0, le=2, description="Of the LLM. Small models wander when it is high.")
    speculation: bool = Field(
        True, description="Prepare the answer in every pause, and drop it when the caller goes on."
    )
    back_off: bool = Field(
        True,
        description="While turns of other calls that are over wait for busy models: no partials, and an answer is "
        "written when it is wanted, not in advance.",
    )
    prefill: bool = Field(
        True,
        description="Let the LLM read the instructions when a call begins, and the caller's words while they speak, "
        "not when it answers.",
    )
    stream_phrases: bool = Field(
        True,
        description="Make an answer into sound phrase by phrase, while it is written. Off: it is written to its end "
        "before anything of it is spoken.",
    )
    first_phrase_alone: bool = Field(
        True,
        description="The LLM stops writing while the first phrase is made into sound: on few cores that is sooner "
        "heard. The rest is written while it sounds. Not where a voice would fall silent then, as beside other calls.",
    )
    allow_loopback: bool = Field(
        False,
        description="Let a room's caller ask for an echo in place of an agent, to measure the way.",
    )
    record_dir: str | None = Field(
        None,
        description="Folder in which each call is taken down as JSON lines, to find out why the agent was silent or "
        "spoke: `antiphon replay FILE`. No sound; of the words only those over the agent's voice. None: nothing is.",
    )
    record_calls: int = Field(100, ge=1, description="Recordings kept there, each of at most 4 MiB; the oldest go.")
    phrases_ahead: int = Field(3, ge=1, le=16, description="Phrases made into sound ahead of the one that plays.")
    listening: ListeningOptions = ListeningOptions()
    turn_taking: TurnTakingOptions = TurnTakingOptions()
    silence: SilenceOptions = SilenceOptions()
    phrases: PhraseOptions = PhraseOptions()
    deadlines: Deadlines = Deadlines()
    failures: FailureOptions = FailureOptions()
