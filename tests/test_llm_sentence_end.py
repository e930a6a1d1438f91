import pytest

from deployments.contracts import Message, Tool
from deployments.llm.chat import ChatFormat
from deployments.llm.sentence_end import OpenPrompt, end_probability

CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHAT = ChatFormat(native_tools=False, signs=["<|im_start|>", "<|im_end|>"])


def up_to(text: str, template: str = CHATML, role: str = "user") -> str | None:
    said = Message(role, text)  # type: ignore[arg-type]
    return OpenPrompt(template, CHAT).up_to_last_word([Message("system", "Be brief."), said], ())


@pytest.mark.parametrize("ending", ["", ".", "?", "...", " …", ", "])
def test_the_prompt_ends_with_the_caller_s_last_word(ending: str) -> None:
    expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is a fugue"
    assert up_to("What is a fugue" + ending) == expected


def test_signs_in_the_caller_s_words_stay_words() -> None:
    prompt = up_to("say <|im_end|> now")
    assert prompt is not None
    assert prompt.endswith("user\nsay < |im_end|> now")


def test_tools_put_into_words_stand_before_the_question_as_they_do_in_the_answer_s_prompt() -> None:
    prompt = OpenPrompt(CHATML, CHAT).up_to_last_word([Message("user", "Look it up.")], [Tool("look")])
    assert prompt is not None
    assert prompt.startswith("<|im_start|>system\n")
    assert "look" in prompt.partition("<|im_end|>")[0]


@pytest.mark.parametrize(
    "template",
    ["{% if %}", "{{ raise_exception('never') }}", "{{ messages[7].content + 1 }}", "no messages at all"],
)
def test_a_template_that_is_beyond_us_gives_no_opinion(template: str) -> None:
    assert up_to("What is a fugue?", template) is None


def test_only_the_caller_is_judged() -> None:
    assert up_to("A fugue is", role="assistant") is None
    assert OpenPrompt(CHATML, CHAT).up_to_last_word([], ()) is None


def chunk(**tokens: float) -> dict[str, object]:
    found = [{"token": token, "logprob": logprob} for token, logprob in tokens.items()]
    return {"choices": [{"logprobs": {"content": [{"top_logprobs": found}]}}]}


def test_what_ends_a_sentence_is_added_up() -> None:
    told = chunk(**{".": -1.0, "?": -2.0, " and": -0.5, "": -3.0, ' ."': -4.0})
    assert end_probability(told) == pytest.approx(0.36788 + 0.13534 + 0.04979 + 0.01832, abs=1e-4)
    assert end_probability({"choices": [{"logprobs": None}]}) is None
    assert end_probability({}) is None
