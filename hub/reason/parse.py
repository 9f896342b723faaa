"""Read the model's answer: bytes from a stranger, to a choice among what was offered.

The answer is JSON with three or four short strings, no larger than `MAX_ANSWER_BYTES`. Culprit
and fix are looked up among the texts that were offered and count as absent if they differ in one
character; commands come from what the lookup finds, never from the answer.
"""

from typing import Annotated

import msgspec

from appliance.journal import shown
from appliance.records import Record
from hub.reason.errors import ReasonError
from hub.reason.grammar import MOST_CITED
from hub.reason.offer import ABSTAIN, Fix, Offer, Option

MAX_ANSWER_BYTES = 8192
MAX_EXPLANATION = 300


class _Answer(Record, frozen=True, kw_only=True):
    culprit: Annotated[str, msgspec.Meta(max_length=200)]
    fix: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    evidence: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=5)]], msgspec.Meta(max_length=8)
    ]
    because: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class _Abstained(Record, frozen=True, kw_only=True):
    culprit: Annotated[str, msgspec.Meta(max_length=200)]
    because: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class Choice(Record, frozen=True, kw_only=True):
    """What the model chose; no option means that it abstained."""

    option: Option | None
    fix: Fix | None
    citations: tuple[str, ...]
    explanation: str


def read(answer: bytes, choices: Offer) -> Choice:
    """The choice in an answer; raises `ReasonError` if it is not one of those offered."""
    # 1. small enough to look at     3. the culprit was offered     5. all citations exist
    # 2. JSON of the right shape     4. the fix belongs to it
    if not answer.strip():  # 1
        raise ReasonError("the model's answer is empty")
    if len(answer) > MAX_ANSWER_BYTES:
        raise ReasonError(f"the model's answer has {len(answer)} bytes, at most {MAX_ANSWER_BYTES}")
    try:  # 2
        spoken = msgspec.json.decode(answer, type=_Abstained | None, strict=True)
    except (msgspec.DecodeError, UnicodeDecodeError):
        spoken = None
    if spoken is not None and spoken.culprit == ABSTAIN:
        return Choice(option=None, fix=None, citations=(), explanation=_plain(spoken.because))
    try:
        said = msgspec.json.decode(answer, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReasonError(f"the model's answer is not a choice: {shown(str(error))}") from error
    option = next((one for one in choices.options if one.text == said.culprit), None)  # 3
    if option is None:
        raise ReasonError(f"the model named a culprit that is not offered: {_named(said.culprit)}")
    fix = next((one for one in option.fixes if one.text == said.fix), None)  # 4
    if fix is None:
        raise ReasonError(f"the model named a fix that is not offered: {_named(said.fix or '')}")
    cited = tuple(dict.fromkeys(said.evidence))  # 5
    if unknown := [one for one in cited if one not in choices.citations]:
        raise ReasonError(f"the model cited evidence that is not offered: {_named(unknown[0])}")
    if len(said.evidence) > MOST_CITED:
        raise ReasonError(f"the model cited more than {MOST_CITED} pieces of evidence")
    return Choice(option=option, fix=fix, citations=cited, explanation=_plain(said.because))


def _plain(text: str) -> str:
    return shown(text.strip(), most=MAX_EXPLANATION)


def _named(text: str) -> str:
    return shown(text, most=60)
