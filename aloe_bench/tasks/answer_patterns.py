"""The words and marks by which `answers` reads a reply; a change here raises its VERSION."""

from __future__ import annotations

import re

# ruff: noqa: E501  (a word list broken over more lines is harder to check)

THINK = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>|◁(/?)think▷", re.I)
MARKER = re.compile(
    r"<\|im_start\|>\s?assistant|<\|(?!begin_of_box|end_of_box)[\w]{1,40}\|>|</?s>|<(?:eos|bos|pad)>|<(?:end|start)_of_turn>|\[/?INST\]|<｜[^｜<>]{1,40}｜>",
    re.I,
)
JSON = re.compile(
    r"[\"'](?:final[_ ]answer|answer|choice|option|letter)[\"']\s{0,9}:\s{0,9}(?:\"([^\"\n]{0,400})\"|'([^'\n]{0,400})')",
    re.I,
)
NEGATION = re.compile(
    r"\b(?:not|never|no|nor|neither|cannot|without|incorrect|wrong|unlikely|false|excludes?|excluded|excluding|"
    r"eliminates?|eliminated|eliminating|discard(?:ed)?|rejects?|rejected|rul(?:e|es|ed|ing)[ -]out|rather than|"
    r"instead of|except|unlike|against|least|descart\w{0,8}|incorrect[ao]|nunca|tampoco|sin|nicht|kein\w{0,3}|pas)\b|n't\b"
    r"|不是|不选",
    re.I,
)
NEGATED_AFTER = re.compile(
    r"[\s)*\].\"':–—-]{0,6}(?:(?:option|choice|answer)\s)?(?:(?:is|are|was|seems?|appears?|looks?|can|could|would|should|does|do|has|have|may|es|no|be|been|therefore|also|clearly|most|likely|probably|very|less|highly|definitely)\s{1,3}){0,4}(?:not\b|no\b|never|incorrect|wrong|unlikely|false|(?:be\s)?(?:ruled out|excluded|eliminated|discarded|rejected)|less likely|impossible|absent|isn't|doesn't|can't|cannot|wouldn't|incorrect[ao]|不(?:是|对|正确))",
    re.I,
)
HEDGE = re.compile(
    r"\b(?:if|whether|might|could|may|maybe|perhaps|possibly|either|unsure|uncertain|guess|unclear|podría|quizás?)\b",
    re.I,
)
REFUSAL = re.compile(
    r"\b(?:sorry|cannot (?:determine|provide|answer|assist|help|be determined)|unable to|not able to|can't (?:determine|provide|answer|assist|help|tell|say)|don't know|do not know|not sure|as an ai|i'm unsure|either|no puedo|lo siento|no sé|difficult to (?:say|tell|determine)|hard to (?:say|tell)|no (?:idea|comment|doubt|opinion|clear|answer|way)|uncertain|unclear|none of the (?:above|options|given)|impossible to)\b",
    re.I,
)
NOUN = (
    r"(?:answer|option|choice|letter|diagnosis|selection|pick|response|respuesta|opción|alternativa|resposta|opció|"
    r"réponse|risposta|antwort|lösung|答案|选项|正确答案|选择)"
)
PHRASE = re.compile(
    r"(?:\b(?P<final>final|definitiva|finale)\s{1,3})?"
    r"(?:(?:"
    + NOUN
    + r")(?:\s{1,3}(?:final|correcta|correcte|correcto|correta|correcte|corretta|choice|option|letter|here|to this question|definitiva))?"
    r"\s{0,3}(?:(?:is|would be|should be|must be|will be|es|és|é|est|è|ist|sería)\b|[是为:=])"
    r"|\b(?:i(?:'d| would| will|'ll)? (?:choose|select|pick|go with|say|answer|chose|selected)|i(?:'m| am) going with|elijo|selecciono|escojo|"
    r"therefore|thus|hence|it(?:'s| is| must be)|i (?:think|believe) it(?:'s| is)|i think|i believe)\b"
    r"|我选|选择|选|答案)"
    r"\s{0,3}:?\s{0,5}(?:(?:most likely|clearly|likely|therefore|definitely|probably|indeed|thus)\s{1,3})?"
    r"(?:(?:the|la|el)\s{1,3})?(?:(?:option|choice|letter|answer|opción|letra)\s{0,3}(?:(?:is|es)\b)?:?\s{0,3})?",
    re.I,
)
RETRACTED = re.compile(
    r"\b(?:that|this|it|which)(?:\sis|'s|\swas) (?:also )?(?:wrong|incorrect|false|not (?:correct|right|true|the case))\b|\bno, ",
    re.I,
)
REVISION = re.compile(
    r"\b(?:wait|correction|corrected|actually|on (?:closer|second|reflection)|revised|revise)\b", re.I
)
LETTER = re.compile(r"[(\[{\"']{0,2}([A-Za-z])[)\]}\"']{0,2}(?![\w'+-])")
CONNECTIVE = re.compile(
    r"\s{1,3}(?:because|since|as|given|due|based|which|is (?:the )?(?:correct|right|best|most likely|answer)|for the|porque|ya que|parce que|weil|for)\b",
    re.I,
)
SECOND = re.compile(
    r"\s{0,3}(?:,\s?(?:or|and)|,|/|&|\bor\b|\band\b|\by\b|\bo\b|\bvs\b)\s{0,3}(?:option\s|choice\s)?\(?[A-Za-z]\)?(?![\w'])",
    re.I,
)
GAP = re.compile(r"[ \t.;|]{1,4}")
LISTED = re.compile(r"\s{0,3}(?:$|[.;,|)]|\(?[A-Z][.):])")
MARKED = re.compile(
    r"\b(?:option|choice|opción|letter)\s{1,3}\(?([A-Za-z])\)?(?![\w'-])|\(([A-Z])\)|(?m:^)[ \t]{0,4}\(?([A-Z])(?:[.):](?=\s|$)|[ \t]{0,4}$)",
    re.I | re.M,
)
IS_CORRECT = re.compile(
    r"(?<![\w'-])\(?([A-Z])\)?\s{1,3}is\s{1,3}(?:the\s)?(?:correct|right|best|most likely|answer)\b(?!\s(?:wrong))"
)
EDGE = " \t\r\n.,;:!\"'`()[]{}<>*_#$~-–—。，：、“”‘’"
SHOWS = re.compile(
    r"(?:because |since |as )?(?:(?:the|this|la) (?:image|scan|picture|mri|finding|findings|lesion|diagnosis|imagen)s? |it |this |there )?"
    r"(?:is|shows?|suggests?|demonstrates?|indicates?|reveals?|muestra|es)?\s?(?:consistent with )?(?:an? |the |un |una )?",
    re.I,
)
