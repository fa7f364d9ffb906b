"""The words and marks by which `answers` reads a reply; a change here raises its VERSION."""

from __future__ import annotations

import re
from collections.abc import Sequence

# ruff: noqa: E501  (a word list broken over more lines is harder to check)

JSON = re.compile(
    r"[\"'](?:(?:final|selected|correct|predicted|chosen|best|my)[_ ]?)?(?:answer|choice|option|letter)(?:[_ ]?(?:letter|choice|option|text))?[\"']"
    r"\s{0,9}:\s{0,9}(?:\"([^\"\n]{0,400})\"|'([^'\n]{0,400})'|(true|false)\b)",
    re.I,
)
NEGATION = re.compile(
    r"\b(?:not|never|no|nor|neither|cannot|without|incorrect|wrong|unlikely|false|excludes?|excluded|excluding|"
    r"eliminates?|eliminated|eliminating|discard(?:ed)?|rejects?|rejected|exclu[iy]\w{0,6}|elimin[oa]\w{0,6}|écart\w{0,4}|rul(?:e|es|ed|ing)[ -]out|rather than|"
    r"instead of|except|unlike|against|least|descart\w{0,8}|incorrect[ao]|nunca|tampoco|sin|nicht|kein\w{0,3}|pas)\b|n't\b"
    r"|不是|不选",
    re.I,
)
NEGATED_AFTER = re.compile(
    r"[\s)*\].\"':–—-]{0,6}(?:(?:option|choice|answer)\s)?(?:(?:is|are|was|seems?|appears?|looks?|can|could|would|should|does|do|has|have|may|es|no|be|been|therefore|also|clearly|most|likely|probably|very|less|highly|definitely)\s{1,3}){0,4}(?:not\b|no\b|never|incorrect|wrong|unlikely|false|(?:be\s)?(?:ruled out|excluded|eliminated|discarded|rejected)|less likely|inappropriate|contraindicated|impossible|absent|isn't|doesn't|can't|cannot|wouldn't|incorrect[ao]|不(?:是|对|正确))",
    re.I,
)
HEDGE = re.compile(
    r"\b(?:if|whether|might|could|may|maybe|perhaps|possibly|either|unsure|uncertain|guess|unclear|podría|quizás?)\b|如果|可能(?!的|性)|或许|也许",
    re.I,
)
REFUSAL = re.compile(
    r"\b(?:sorry|cannot (?:determine|provide|answer|assist|help|be determined)|unable to|not able to|can't (?:determine|provide|answer|assist|help|tell|say)|don't know|do not know|not sure|as an ai|i'm unsure|either|no puedo|lo siento|no sé|difficult to (?:say|tell|determine)|hard to (?:say|tell)|no (?:idea|comment|doubt|opinion|clear|answer|way)|uncertain|unclear|none of the (?:above|options|given)|impossible to)\b|无法(?:确定|判断|诊断|回答|做出)|不确定|难以(?:确定|判断)|抱歉",
    re.I,
)
NOUN = (
    r"(?:answer|option|choice|letter|diagnosis|selection|pick|response|respuesta|opción|alternativa|resposta|opció|"
    r"réponse|risposta|antwort|lösung|答案|选项|正确答案|选择|诊断)"
)
IS = r"(?:(?:is|would be|should be|must be|will be|es|és|é|est|è|ist|lautet|sería)\b|[是为:=])"
NOUN_IS = (
    NOUN
    + r"(?:\s{1,3}(?:final|correcta|correcte|correcto|correta|correcte|corretta|choice|option|letter|here|to this question|definitiva))?\s{0,3}"
    + IS
)
PHRASE = re.compile(
    r"(?:\b(?P<final>final|definitiva|finale)\s{1,3})?"
    r"(?:(?:" + NOUN_IS + r")"
    r"|\b(?:i(?:'d| would| will|'ll)? (?:choose|select|pick|go with|say|answer|chose|selected)|i(?:'m| am) going with|elijo|selecciono|escojo|"
    r"therefore|thus|hence|it(?:'s| is| must be)|i (?:think|believe) it(?:'s| is)|i think|i believe)\b"
    r"|(?P<so>\bso,?(?=\s{1,3}(?:option\s)?\(?(?-i:[A-Z])))"
    # A noun with no verb only where a clause begins and the letter is the last word: "... positiva: resposta C".
    r"|(?:^|[:,.;\n]|\bc'est|\bes|\bés|\bso|\bdonc)\s{0,3}(?:la |l'|die )?(?:resposta|respuesta|réponse|risposta|antwort)\s(?=\(?(?-i:[A-Z])\)?\.?\s{0,3}$)"
    r"|我选|选择|选|答案|正解は|答えは|正解|정답은|답은|정답)"
    r"\s{0,3}:?\s{0,5}(?:(?:most likely|clearly|likely|therefore|definitely|probably|indeed|thus)\s{1,3})?"
    r"(?:(?:(?:the|la|el)\s{1,3}|l'))?(?:(?:option|choice|letter|answer|opción|letra)\s{0,3}(?:(?:is|es)\b)?:?\s{0,3})?",
    re.I,
)
# Where an option's words follow, and not its letter: the answer or the diagnosis is, or a conclusion.
# Where an option's words follow, and not its letter: the answer or the diagnosis is, or (`weak`) a conclusion.
TEXT_PHRASE = re.compile(
    r"(?:\b(?:answer|diagnosis|respuesta|resposta|réponse|risposta|antwort|diagn[oóò]stic[oe]?|diagnose)(?:\s{1,3}(?:correcta|correcte|correta|here))?\s{0,3}"
    + IS
    + r"|(?:答案|诊断)[是为:]|\b(?P<weak>therefore|thus|hence|so|i\.?e\.?)\b,?)\s{0,3}:?\s{0,5}"
    r"(?:(?:most likely|clearly|likely|therefore|definitely|probably|indeed|thus)\s{1,3})?(?:(?:the|an?|la|el|un|una)\s{1,3})?[\"'(]?",
    re.I,
)
TEXT_END = re.compile(
    r"[\"')]?\s{0,2}(?:$|[.,](?!\d)|[;!(。]|(?:because|since|as|due|given|which|porque|weil)\b)", re.I
)
WEAK_TEXT_END = re.compile(
    r"[\"')]?\s{0,2}(?:[.!。]?\s{0,3}$|(?:is|would be) (?:the |most )?(?:best|correct|right|most likely|appropriate|next|preferred|answer)\b(?! to\b))",
    re.I,
)
OTHER_DIAGNOSIS = re.compile(
    r"\b(?:differential|alternative|other|another|prior|previous|initial|referring|presumed|first|second|one)\s{1,3}\Z",
    re.I,
)
# "Most likely C", "Probably D.", at the start of a reply.
LIKELY = re.compile(
    r"(?:most likely|very likely|most probably|likely|probably|almost certainly|certainly|definitely|clearly)[:,]?\s{1,3}"
    r"(?:(?:it is|it's|the answer is|option|choice|answer)\s{1,3}){0,2}",
    re.I,
)
RETRACTED = re.compile(
    r"\b(?:that|this|it|which)(?:\sis|'s|\swas) (?:also )?(?:wrong|incorrect|false|not (?:correct|right|true|the case))\b"
    r"|\b(?:that|this|it) isn't (?:correct|right|true)|\bno, ",
    re.I,
)
DOUBT = re.compile(
    r"(?<!and )\bwait(?=\s{0,2}[,.!:…—–-]|\s(?:but|no|let|that|actually|i|maybe)\b)|\bhold on\b|\bscratch that\b|\bhm{1,5}\b|\boops\b|\bcorrection\b"
    r"|\bon reflection\b|\bon (?:second|closer|further) (?:look|thought|inspection|review|consideration|reflection|reading)s?\b"
    r"|\blet me (?:re\w{0,12}|think|check|look|double)\b|\bi (?:meant|misread|misspoke|was wrong|change my)\b|\bmy (?:mistake|apologies|bad)\b|\bactually,"
    r"|\bno, (?:that|it|wait|actually|rather)\b|\bsorry\b|\bperdón\b|\ben realidad\b|等等|不对",
    re.I,
)
REVISION = re.compile(
    r"\b(?:wait|correction|corrected|actually|on (?:closer|second|reflection)|revised|revise)\b", re.I
)
# Letters of Japanese and Korean may follow at once as a copula ("Bです"), no other word may ("B型肝炎").
COPULA = r"(?:です|である|だ|입니다|이다|예요|项)"
LETTER = re.compile(r"[(\[{\"']{0,2}([A-Za-z])[)\]}\"']{0,2}(?:(?=" + COPULA + r")|(?![\w'+-]))")
CONNECTIVE = re.compile(
    r"\s{1,3}(?:because|since|as|given|due|based|which|is (?:the )?(?:correct|right|best|most likely|answer)|for the|porque|ya que|parce que|weil|for)\b",
    re.I,
)
SECOND = re.compile(
    r"\s{0,3}(?:[(,;]\s?)?(?:,|/|&|或|和|\b(?:or|and|y|o|ou|oder|und|et|vs|versus)\b\.?|(?=\b(?:possibly|perhaps|maybe)\b))\s{0,3}"
    r"(?:(?:possibly|perhaps|maybe|probably|potentially|even|also|alternatively|else)\s{1,3}){0,2}(?:option\s|choice\s)?"
    r"\(?(?-i:[AB-HJ-Zb-z]|I(?!\s{1,3}(?:think|believe|would|am|guess|suspect)\b|')|a(?!\s{1,3}\w))\)?(?![\w'])"
    r"|\s{1,3}(?:or|and|vs)\s{0,3}\w{0,3}\Z|\s{0,2}[–—-]\s{0,2}\(?(?-i:[A-Z])\)?(?=\s{0,2}(?:[.,;)]|$))",
    re.I,
)
HOWEVER = re.compile(r"\W{0,6}(?:however|alternatively)\b", re.I)
# Another letter held out as possible further on: "A. It could also be C."
ALTERNATIVE = re.compile(
    r"\b(?:[Oo]r|[Pp]ossibly|[Pp]erhaps|[Mm]aybe|[Aa]lternatively,?|(?:[Cc]ould|[Mm]ight|[Mm]ay) (?:also |well )?be)\s{1,3}"
    r"(?:[Oo]ption\s{1,3})?\(?([A-Z])\)?(?=\s{0,2}(?:[.,;:)!?\n]|$|is\b|if\b))|\b[Oo]ption\s{1,3}\(?([A-Z])\)? (?:is|would be|seems) (?:also|equally) "
    r"|\b(?:is|hand|[Rr]ather|[Ii]nstead|but|so|then),?\s{1,3}\(?([A-Z])\)?(?=\s{0,2}(?:[.!\n]|$))"
)
# Another letter called right: "Option C would be the best choice."
PRAISED = re.compile(
    r"(?<![\w'-])\(?([A-Z])\)?,?\s{1,3}(?:is|would be|seems|appears|looks|fits|suits|matches|explains)\s{1,3}(?:(?:the|a|to be|indeed|actually|more|also|equally|very)\s{1,3}){0,3}"
    r"(?:correct|right|best|better|most|answer|likely|preferred|ideal|true|appropriate|(?<=also )(?:possible|plausible|reasonable|valid|acceptable))\b"
)
# A letter with a remark behind a colon, dash or bracket; two of them are a list ("A: 20%, B: 20%"), not an answer.
REMARK = re.compile(r".?\)?\s{0,2}(?:[:=(–—]|-\s)")
REMARKED = re.compile(r"(?:^|[.,;\n])\s{0,3}\(?([A-Z])\)?\s{0,2}(?:[:=(–—]|-\s)")
# Another bare letter right after the first: "A. B. C."
RUN = re.compile(r"[\s.,;|)]{1,4}\(?([A-Z])\)?(?:[.;|)](?!\s[a-z])|\s{0,3}$)")
# A last sentence or line that is only a letter, after a sentence of words. A and I with no full stop may begin a sentence cut short.
LAST_LETTER = re.compile(
    r"(?:[^\W\d_]{1,40}[\"')]?[.!]\s{1,3}(?:(?=\(?[AI]\)?[.!)])|(?!\(?[AI]))|\n\s{0,3})\(?([A-Z])\)?[.!]?\s{0,3}\Z"
)
# The same with less certainty, enough to doubt another reading.
LOOSE_LAST = re.compile(r"[.!?:)\n]\s{1,3}\(?([A-Z])\)?[.!]?\s{0,3}\Z")
ABBREVIATED = re.compile(
    r"(?:\b(?:e\.g|i\.e|vs|cf|fig|figs|dr|no|nr|st|ca|approx|grade|type|stage|panel|image|ref|etc|(?<!not )(?-i:[A-Za-z]))[.:]\s{1,3})\Z",
    re.I,
)
SENTENCE_LETTER = re.compile(
    r"(?:^|[.!?;\n]\s{0,3})(?:option\s)?\(?([A-Z])\)?(?:[.):,\n]|\Z|\s(?:is|was|would|and|or|can|-)\b)"
)
GAP = re.compile(r"(?:[ \t.;|]{1,4}\n?|\n)[ \t]{0,3}")
# After an option's own text a negation in the next paragraph is about something else.
NEW_PARAGRAPH = re.compile(r"\.?[ \t]{0,3}\n\s{0,3}\n\s{0,3}(?:not?|never)\s\w", re.I)
# "A" alone on a line where the sentence goes on below.
ARTICLE_LINE = re.compile(r"\s{0,3}\n\s{0,3}[a-z]")
NEXT_LINE = re.compile(r"\n[ \t]{0,4}\(?([A-Za-z])[.):]")
NAMED = re.compile(r"[,:]\s{1,3}\(?([A-Z])[.)]{1,2}\s{1,3}")
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
# What keeps an option's words in a sentence from being the answer.
UNCOMMITTED = re.compile(
    r"\b(?:(?:would|will|does|do) need|needs? (?:more|higher|further|additional)|needed to|required to|(?:is|are) needed|(?:is|are) required|"
    r"differentials?|history of|(?:previous|prior|one|another) (?:possible )?diagnosis|to (?:tell|distinguish|differentiate|separate|exclude|confirm)|insufficient|not enough|"
    r"(?:is|are)(?:n't| not) (?:visible|shown|provided|attached|available|possible|clear|included|legible))\b",
    re.I,
)
# "right" and the like as other words than a side.
ADVERB = re.compile(r"(?:\b(?:you're|you are|that's|that is|all)\s{1,3})\Z", re.I)
ADVERB_AFTER = re.compile(
    r",\s{1,3}(?:so|but|and|the|i|it|let|this)\b|\s{1,3}(?:to|away|now|answer|choice|here|there|about|that)\b|\s?\?",
    re.I,
)
# An option's words held up beside others, which need be no option's: "type A or AB".
OR_AFTER = re.compile(r"\s{0,2}[,(]?\s?(?:(?:or|vs|versus|oder|ou)\b|/)", re.I)
OR_BEFORE = re.compile(r"(?:\b(?:or|vs\.?|versus|oder|ou)\s{1,3}(?:an?\s|the\s)?|/\s?)\Z", re.I)
LETTERED = re.compile(r"(?<![\w'-])\(?([A-Za-z])\)?[.):]\s{1,3}\Z")
CONTRAST = re.compile(
    r"\b(?:but|however|although|though|except|apart from|otherwise|whereas|while|despite|with|without|and)\b|[.;\n]\s{0,3}\w",
    re.I,
)
# Genus initials look like letters of options: "C. difficile", "E. coli", "S. aureus".
SPECIES = re.compile(
    r"[A-Z]\.\s{1,2}(?:aureus|coli|difficile|pneumoniae|pyogenes|epidermidis|agalactiae|albicans|tetani|botulinum|perfringens|diphtheriae|jejuni|"
    r"trachomatis|burgdorferi|faecalis|faecium|pylori|influenzae|falciparum|vivax|gondii|histolytica|monocytogenes|meningitidis|gonorrhoeae|"
    r"aeruginosa|baumannii|fragilis|cereus|anthracis|tuberculosis|pertussis|henselae|neoformans|fumigatus|jirovecii|cruzi)\b"
)


def clause_before(text: str, at: int) -> str:
    """Return the words of the clause that ends at `at`, of the 90 characters before it."""
    return re.split(r"[.,;:\n。，]|\b(?:so|therefore|but|thus|hence)\b", text[max(0, at - 90) : at])[-1]


def denied(text: str, start: int, end: int) -> bool:
    """Return whether a negation stands before `start` in its clause, or follows at `end`."""
    return bool(NEGATION.search(clause_before(text, start)) or NEGATED_AFTER.match(text, end))


def hedged(text: str, own: Sequence[tuple[int, int]], *patterns: re.Pattern[str]) -> bool:
    """Return whether `text` hedges or refuses outside `own`, where an option's own words stand."""
    found = (match for pattern in patterns for match in pattern.finditer(text))
    return any(not any(start <= m.start() and m.end() <= end for start, end in own) for m in found)
