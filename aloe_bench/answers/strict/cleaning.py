"""What of a reply is the model's own answer: no reasoning, chat marks, invented turns, echoed prompt or markup.

Where it puts its answer into a place of its own (tags, boxes and JSON fields), the answer is what stands there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

from aloe_bench.answers.strict.phrases import DOUBT, EDGE, JSON
from aloe_bench.answers.strict.reading import Parsed
from aloe_bench.tasks.formats import CHOICE_REQUEST, CHOICE_TEXT_REQUEST, YES_NO_REQUEST

# Tags of Qwen, Mistral, Kimi, MedGemma (<unused94>), gpt-oss (channels; without marks, "analysis...assistantfinal").
_REASONING = re.compile(
    r"(?P<close></(?:think|thinking|thought|reasoning)>|(?-i:\[/THINK\])|◁/think▷|<unused95>|<\|channel\|>\s?final\b|(?-i:assistantfinal))"
    r"|<(?:think|thinking|thought|reasoning)>|(?-i:\[THINK\])|◁think▷|<unused94>|<\|channel\|>\s?(?:analysis|commentary)\b"
    r"|(?-i:\Aanalysis(?=[A-Z]))",
    re.I,
)
_MARKER = re.compile(
    r"<\|(?:im_)?start\|>\s?assistant|<\|(?!begin_of_box|end_of_box)[\w]{1,40}\|>|</?s>"
    r"|<(?:eos|bos|pad)>|<(?:end|start)_of_turn>|\[/?INST\]|<｜[^｜<>]{1,40}｜>",
    re.I,
)
_STRUCK = re.compile(r"~~[^~\n]{1,200}~~|<(del|strike)>[^<>\n]{1,200}</\1>", re.I)
_BREAK = re.compile(r"</?(?:br|p|div|li|ul|ol|h[1-6]|tr|td|option|choice)\s?/?>", re.I)
_TAG = re.compile(
    r"</?(?:b|i|u|strong|em|span|code|mark|sub|sup|font|center|letter|response|result|output|final|final_?answer|ans)\s?>",
    re.I,
)
_USER = re.compile(r"\W{0,9}(?:user|human)\s?:", re.I)
_ASSISTANT = re.compile(r"(?<!\w)(?:assistant|model|ai|bot|gpt)\*{0,2}\s?:\*{0,2}\s?", re.I)
_ASSISTANT_LEAD = re.compile(r"\W{0,9}(?:assistant|model|ai|bot|gpt)\*{0,2}\s?:\*{0,2}\s?", re.I)
_NEXT_TURN = re.compile(
    r"\n[#*> \t]{0,8}(?:(?:next |new )?question|user|human|instruction|pregunta|frage|问题|(?-i:Q))"
    r"\s?\d{0,3}\*{0,2}\s?[:：]|\s(?-i:USER|HUMAN)\s?:",
    re.I,
)

# NFKC leaves these as they are; the last five are not seen at all.
_ONE_FORM = {ord(one): other for one, other in zip("’‘“”【】−", ("'", "'", '"', '"', " ", ": ", "-"), strict=True)}
_ONE_FORM |= dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF), "")


def without_reasoning(reply: str) -> str | None:
    """Return `reply` without its reasoning blocks, `None` if one is left open."""
    kept: list[str] = []
    start, inside = 0, False
    for tag in _REASONING.finditer(reply):
        if tag.group("close"):
            kept, inside, start = kept if inside else [], False, tag.end()
        elif not inside:
            kept.append(reply[start : tag.start()])
            inside = True
    return None if inside else " ".join([*kept, reply[start:]])


def own_turn(text: str) -> str:
    """Return the model's turn of `text`: after an echoed user turn, up to the next turn that it makes up."""
    if _USER.match(text) and (answer := _ASSISTANT.search(text)):
        text = text[answer.end() :]
    if lead := _ASSISTANT_LEAD.match(text):
        text = text[lead.end() :]
    cut = next((m.start() for m in _NEXT_TURN.finditer(text) if text[: m.start()].strip(EDGE)), len(text))
    return text[:cut]


def cleaned(text: str) -> str:
    """Return `text` without chat marks, struck-out words and simple HTML, in one form of each character."""
    text = unicodedata.normalize("NFKC", _MARKER.sub(" ", text))
    text = _TAG.sub("", _BREAK.sub("\n", _STRUCK.sub(" ", text)))
    return text.translate(_ONE_FORM).strip()


_SAID_IN_TEX = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|mbox|operatorname|bf|rm)\s?\{([^{}]{0,400})\}"
)
_FRACTION = re.compile(r"\\[dt]?frac\s?\{([^{}]{1,80})\}\s?\{([^{}]{1,80})\}")
_ROOT = re.compile(r"\\sqrt\s?\{([^{}]{1,80})\}")
_TEX = (
    (re.compile(r"\\[()\[\],;!]|\\(?:left|right|displaystyle|quad|qquad|bf|rm)\b"), " "),
    (re.compile(r"\^?\s?\{?\s?\\circ\s?\}?"), "°"),
    (re.compile(r"\\([%#&_$])"), r"\1"),
    (re.compile(r"\\pi\b"), "π"),
    (re.compile(r"\\(?:times|cdot)\b"), "×"),
)


def plain_text(raw: str) -> str:
    """Return `raw` without markdown, TeX, arrows and pictographs; a cross counts as "not"."""
    text = raw
    if "\\" in text:
        text = _untexed(text)
    text = re.sub(r"(?<=[^\W_])_(?=[^\W_])", " ", text)
    text = re.sub(r"[❌✗✘✖]", " not ", re.sub(r"[*`$#_]", "", text))
    return re.sub(r"[\u2190-\u21ff\u2300-\u2bff\ufe0f\ue000-\ue3ff\U0001f000-\U0001faff]", " ", text).strip()


def _untexed(text: str) -> str:
    for _ in range(2):
        text = _ROOT.sub(r"√\1", _SAID_IN_TEX.sub(r"\1", text))
        text = _FRACTION.sub(r"\1/\2", text)
    for pattern, plain in _TEX:
        text = pattern.sub(plain, text)
    return text.replace("{", "").replace("}", "")


def clean(text: str) -> str:
    """Return `text` in the one form in which a reply and its options are compared."""
    return plain_text(cleaned(text))


def prepared(reply: str) -> str | None:
    """Return the answer that `reply` ends in, without reasoning and made-up turns; None if reasoning is left open."""
    text = without_reasoning(reply)
    return None if text is None else own_turn(cleaned(text)).strip()


def lone_letter(text: str) -> str | None:
    """Return the letter that all of a cleaned option is, as in "E", "(e)" or "E."; None of any other text."""
    return next(c for c in text if c.isalpha()) if re.fullmatch(r"[(\[]?[A-Za-z][)\].]{0,2}", text) else None


# Reads plain text; the second argument says whether it is the reply's own end.
Plain = Callable[[str, bool], Parsed]
_ECHO = re.compile("|".join(map(re.escape, (CHOICE_REQUEST, CHOICE_TEXT_REQUEST, YES_NO_REQUEST))), re.I)
_BOX = re.compile(r"\\boxed\b")
_STATED = ("announced", "final-answer", "called-best")


def _between(text: str, opening: str, closing: str) -> Iterator[tuple[int, str]]:
    low, at = text.lower(), 0
    if len(low) != len(text):
        low = text
    while (start := low.find(opening, at)) >= 0:
        start += len(opening)
        end = low.find(closing, start)
        end = len(text) if end < 0 else end
        yield end, text[start:end]
        at = end + 1


def boxed(text: str) -> tuple[int, str] | None:
    """Return the end and content of the last `\\boxed{}`, braces and all."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for at in range(start + 6, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at, text[start + 7 : at]
    return len(text), text[start + 7 :]


# The containers that a reply puts around its whole answer; a box holds a step of the reasoning too.
WRAPPED = ("answer-tag", "box")


def contained(text: str) -> list[tuple[str, int, str]]:
    """Return the kind, end and content of every container in `text`; JSON fields only where there is no other."""
    found = [("answer-tag", end, inner) for end, inner in _between(text, "<answer>", "</answer>")]
    found += [("box", end, inner) for end, inner in _between(text, "<|begin_of_box|>", "<|end_of_box|>")]
    if last := boxed(text):
        found.append(("boxed", *last))
    if not found:
        found = [
            ("json", m.end(), next((g.replace("\\n", "\n") for g in m.groups() if g), "")) for m in JSON.finditer(text)
        ]
    return found


def _read(text: str, plain: Plain, cut: bool) -> Parsed:
    """Return what the containers of `text` hold, or what `plain` reads where there is none."""
    found = [one for one in contained(text) if not cut or one[1] < len(text)]
    if not found:
        return plain(text, True)
    contents = dict.fromkeys((kind, inner) for kind, _, inner in found)
    if len(contents) > 20:
        return Parsed(None, "containers-differ")
    # One level of nesting, as in <answer>\\boxed{B}</answer>.
    inners = [
        (k, deeper[1] if (deeper := boxed(inner)) else re.sub(r"<[^<>]{1,40}>", " ", inner)) for k, inner in contents
    ]
    read = [(kind, plain(own_turn(inner), False)) for kind, inner in inners]
    if len({p.letter for _, p in read}) > 1:
        return Parsed(None, "containers-differ")
    kind, first = read[0]
    rest = text[max(end for _, end, _ in found) :]
    if DOUBT.search(rest):
        return Parsed(None, "self-correction")
    if all(kind == "boxed" for kind, _ in read):
        # A box is also where a number of the reasoning stands: what the sentences call the answer must not differ.
        around = plain(_BOX.sub(" ", text), True) if len(text) > 40 else first
        if around.rule in _STATED and around.letter not in (first.letter, None):
            return around if first.letter is None else Parsed(None, "containers-differ")
    after = plain(rest, True) if first.letter and re.search(r"final answer|answer is|answer:", rest, re.I) else first
    if after.letter not in (first.letter, None):
        return Parsed(None, "containers-differ")
    return Parsed(first.letter, f"{kind}:{first.rule}")


def opened(reply: str, plain: Plain, cut: bool = False) -> Parsed:
    """Return what `plain` reads in the part of `reply` that is its answer.

    Behind an echo of our own request comes the answer; it is unread if the reply had given another one before.
    """
    text = prepared(reply)
    if text is None:
        return Parsed(None, "open-reasoning")
    if not text:
        return Parsed(None, "empty")
    ends = [m.end() for m in _ECHO.finditer(text) if m.end() < len(text)]
    if not ends:
        return _read(text, plain, cut)
    said, before = _read(text[ends[-1] :].strip(), plain, cut), text[: ends[-1]].strip()
    earlier = {plain(before, False).letter, plain(before.split("\n", 1)[0], False).letter} - {None, said.letter}
    return Parsed(None, "echo-differs") if earlier else said


def answer_text(reply: str) -> str | None:
    """Return the words of an open answer: what its last container holds, else all but reasoning; None if unread."""
    text = prepared(reply)
    if not text:
        return None
    found = contained(text)
    inner = max(found, key=lambda one: one[1])[2] if found else text
    deeper = boxed(inner)
    return (deeper[1] if deeper else inner).strip() or None
