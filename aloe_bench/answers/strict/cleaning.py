"""What of a reply is the model's own answer: no reasoning, chat marks, invented turns or markup."""

from __future__ import annotations

import re
import unicodedata

from aloe_bench.answers.strict.phrases import EDGE

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
