"""The words and marks by which a reply is read; a change here raises VERSION in `choice`."""

from __future__ import annotations

import re

# ruff: noqa: E501  (a word list broken over more lines is harder to check)

EDGE = " \t\r\n.,;:!\"'`()[]{}<>*_#$~-–—。，：、“”‘’"

JSON = re.compile(
    r"[\"'](?:(?:final|selected|correct|predicted|chosen|best|my)[_ ]?)?(?:answer|choice|option|letter)(?:[_ ]?(?:letter|choice|option|text))?[\"']"
    r"\s{0,9}:\s{0,9}(?:\"([^\"\n]{0,400})\"|'([^'\n]{0,400})'|(true|false)\b)",
    re.I,
)

# What a letter is where it is not an option's: "vitamin C", "figure (B)".
TERM = re.compile(
    r"\b(?:vitamin\w?|hepatitis|type|types|grade|stage|class|group|fig(?:ure)?s?\.?|panels?|images?|factor|influenza|protein|tipo|grado|"
    r"estadio|hepatite|vitamina|points?|angles?|lines?|segment|sides?|arc|triangle|vertex|circle|square|plane|set|event|node|section|"
    r"category|part|plot|graph|picture|row|column|area|region|structure|curve|figura|imagen|imagem|gráfico|immunoglobulin|ig|strain|"
    r"chromosome|blood|complement|cyclin|coenzyme|cell|lead|zone|le|let|where|when|and|grupo|clase|classe|virus|plan|phase|label(?:l?ed)?(?: as)?|marked(?: as| with)?|called|named|symptom|item|curve|arrow|letter|tube|site|lesion)\s{1,2}[\"'(]?\Z",
    re.I,
)
FIGURE = re.compile(r"\b(?:fig(?:ure)?s?\.?|panels?|images?|grade|stage|part|parts|type|step|case)\s{0,2}\Z", re.I)
I_SAYS = re.compile(
    r"\s{1,3}(?:would|am|was|think|can|could|may|might|should|have|had|do|did|believe|see|will|must|need|cannot|know|guess|suspect|apologi|agree|choose|select|recommend|suggest|and|don)|'",
    re.I,
)
AND_VERBS = (
    r"\s{1,3}(?:is|are|was|would|will|and|or|vs|y|o|u|e|ou|et|und|oder|because|since|as|given|due|based|which|for|seems|appears|could|can|"
    r"may|might|should|does|looks|fits|es|son|sería|é|seria|est|ist|wäre|por|porque|ya|que|pois|car|weil|if|but|not|were|represents|also|being|the (?:correct|best|right|most|answer|likely)|הוא|היא|ו)\b"
)
COPULA_CJK = re.compile(
    r"(?:です|である|だ|입니다|이다|예요|가|이|은|는|를|项|项是|是|は|が|を|の|と|と?考え|也|不|和|或|、|。|，|」|」)"
)

ANSWER = re.compile(
    r"\b(?:answers?|options?|choices?|letter|selection|pick|response|respuestas?|opci[óo]n(?:es)?|opció|opç(?:ão|ões)|opzione|alternativas?|"
    r"respostas?|réponses?|risposta|antwort|antworten|lösung|letra)\b|答案|回答|选项|選択肢|正解|正答|答え|正确|정답|답|תשוב|אפשרות|אופציה|התשובה",
    re.I,
)
SUPERLATIVE = re.compile(
    r"\b(?:most|best|correct\w{0,2}|right|true|false|incorrect\w{0,2}|likely|likeliest|appropriate|next step|initial step|first step|diagnos\w{0,6}|"
    r"diagnòstic|finding|conclusion|statement|expected|indicated|recommended|preferred|treatment of choice|more|más|mais|plus|més|mejor|melhor|"
    r"meilleur\w?|correct[ao]|adecuad[ao]|adequad[ao]|indicad[ao]|conducta|conduta|hallazgo|achado|tratamiento|tratamento|afirmaci[óo]n|afirmação|"
    r"wahrscheinlich\w{0,4}|richtig\w{0,2}|beste\w?|geeignetste\w?|sinnvollste\w?|passendste\w?|exact\w{0,2}|except(?:ion)?|least|not)\b"
    r"|最|もっとも|適切|正しい|誤って|診断|诊断|可能性|应该|應該|認められない|적절|가장|진단|ביותר|הסביר|הנכונ|האבחנה",
    re.I,
)
CHOOSES = re.compile(
    r"(?:\b(?:i|we)(?:'d| would| will|'ll| must| have to)? (?:choose|select|pick|go with|say|answer|chose|selected|lean towards?|opt for|conclude(?: that it is)?|think(?: it is| it's)?|believe(?: it is| it's)?|suggest|recommend|go for)|"
    r"\bi(?:'m| am) going with|\b(?:leaning|lean) towards?|\b(?:elijo|selecciono|escojo|escolho|elegiría|escolheria|je choisis|ich wähle|selecting|choosing|opted? for)|\bwe (?:choose|select|conclude that|get)|\bmy (?:answer|choice|pick|guess)|我选|我選|选择|選擇|应选|故选|选)\Z",
    re.I,
)
# The option stands beside the noun: "the correct option letter, D,".
APPOSED = re.compile(r"\b(?:correct|right|best|final) (?:answer|option|choice)(?: letter)?,\s{1,3}[\"'(]?\Z", re.I)
APPOSED_AFTER = re.compile(r"[\"')]?\s{0,2}(?:[,.;!\n]|$)")
# "The options:", below which all of them are listed.
OPTIONS_BELOW = re.compile(
    r"\b(?:options|choices|alternatives|statements|possibilities|opciones|opções|alternativas|optionen"
    r"|(?:each|every|cada|chaque|jede|ogni) (?:(?:answer|of the) )?(?:option|choice|alternative|statement|opci[óo]n|opção|alternativa|afirmação|"
    r"afirmaci[óo]n|réponse|proposition|opzione|affermazione|aussage))\s{0,3}[:：]\s{0,6}\Z",
    re.I,
)
# Not what the answer is but what it may be.
MAY_BE = re.compile(
    r"\b(?:(?:might|could|may|possibly|perhaps|potentially)(?: (?:well|also|then|potentially))? be|(?:podría|podria|puede|poderia|pode) ser"
    r"|pourrait être|peut être|könnte(?: \w{1,12})? sein)\W{0,6}\Z|かもしれ\w{0,6}\W{0,6}\Z",
    re.I,
)
# So the question asks for the wrong one.
OTHERS_RIGHT = re.compile(
    r"\b(?:others?|remaining|rest)(?: of the)?(?: (?:two|three|four|\d))?(?: (?:options?|answers?|choices?|statements?|alternatives?))? "
    r"(?:are|is) (?:all )?(?:generally |factually )?(?:correct|true|right|accurate|valid)\b",
    re.I,
)
WRONG_ANSWER_IS = re.compile(
    r"\b(?:incorrect|wrong|false|incorrecta|incorreta|falsa|fausse|falsche)(?: (?:answer|option|choice|statement|one))?"
    r"(?: here)? (?:is|es|é|est|ist)\b\W{0,9}\Z|(?:誤っ|間違っ)ている\S{0,6}は\W{0,9}\Z",
    re.I,
)
SO = re.compile(
    r"(?:\b(?:therefore|thus|hence|so|consequently|accordingly|in conclusion|in summary|to conclude|overall|finally|it must be|this leaves|leaving|leaves(?: us with)?|entonces|por (?:lo )?tanto|por tanto|así que|portanto|logo|assim|donc|ainsi|quindi|also|dunque|folglich|daher|somit|per tant)|因此|所以|故|よって|したがって|従って|따라서|לכן)\Z",
    re.I,
)
CONCLUDES = re.compile(
    r"\b(?:therefore|thus|hence|so|consequently|in conclusion|in summary|to conclude|overall|finally|ultimately|to summarize|based on (?:this|these|the|my)|given (?:this|these|the|all)|por (?:lo )?tanto|por tanto|portanto|en conclusión|em conclusão|en resumen|em resumo|donc|en conclusion|pertanto|daher|somit|insgesamt|per tant)\b|因此|综上|所以|よって|したがって|以上|따라서|לכן|לסיכום|בהתבסס",
    re.I,
)
FINAL = re.compile(r"\b(?:final|definitiv[ao]|finale|definitive|ultimate|endgültige)\b|最终|最終", re.I)
# What stands between a copula and the option: an article, "option", "most likely", a quote.
FILLERS = re.compile(
    r"(?:[\s\"'(\[{「『,、，]|\b(?:the|an?|la|el|le|il|os?|as?|un[ao]?|uma?|die|der|das|lo|les|los|las|to be|option|choice|letter|opci[óo]n|opció|opção|alternativa|letra|réponse|resposta|respuesta|"
    r"most likely|very likely|most probably|likely|clearly|therefore|probably|definitely|indeed|thus|actually|simply|in fact|of|a case of|that of|that)\b|\b[dl]'|选项|選択肢|אפשרות|אופציה|תשובה|ה)+\Z",
    re.I,
)
COPULA = re.compile(
    r"(?:\b(?:is|are|was|be|being|becomes|remains|was|es|son|ser[íi]a|será|sea|fue|é|és|est|serait|è|sarebbe|ist|lautet|wäre|sind|'s|equals|that is|i\.e)|是|为|為|乃|即|は|には|が|은|는|이|=|以下の(?:通り|とおり)(?:です|である|になります)?|as follows|following|היא|הוא|הינה|תהיה|:|：)\Z",
    re.I,
)
POINTS_TO = re.compile(
    r"\b(?:consistent with|suggestive of|characteristic of|typical of|compatible with|in keeping with|indicative of|diagnos(?:is|tic) of|evidence of|picture of|case of|indicates?|suggests?|represents?|(?:best )?fits?|points? (?:to|towards)|depicts?|demonstrates?|reveals?|shows?|identified as|classified as|described as|diagnosed with|called|corresponds to|matches|supports?|due to|caused by|compatible con|sugestiv[oa] de|sugiere|indica|muestra|presenta|mostra|apresenta|corresponde a)\Z",
    re.I,
)
_ADVERBS = r"(?:(?:the|to be|indeed|also|clearly|therefore|thus|most|more|very|likely|probably|la|el|o|le|die|der|das|más|mais|plus|thought to be|considered|single|only|one|overall|both)\s{1,3}){0,4}"
RIGHT = re.compile(
    r"[\"')\]」』]{0,2},?\s{0,3}(?:which |that )?(?:is|are|was|would be|will be|must be|should be|can be|seems(?: to be)?|appears(?: to be)?|remains|stands out as|emerges as|represents|has to be|es|sería|é|seria|est|serait|è|ist|wäre)\s{1,3}"
    + _ADVERBS
    + r"(?P<what>correct|right|best|true|answer|likeliest|appropriate|preferred|ideal|indicated|recommended|suitable|accurate|plausible|diagnosis|choice|fitting|reasonable|probable|logical|closest|corret[ao]|correct[ao]|adecuad[ao]|adequad[ao]|exact|bonne|meilleure?|mejor|melhor|respuesta|resposta|richtig\w?|richtige antwort|beste|(?<=most )likely|(?<=most likely )(?:cause|diagnosis|option|answer|explanation|organism|choice|finding)|next step|treatment of choice)\b"
    r"|[\"')\]」』]{0,2}\s{0,2}(?P<cjk>(?:是|为)(?:最)?(?:正确|正確|对的|最佳|适|恰当)|が(?:最も)?(?:正解|正しい|適切|考えられ|正答)|を選|(?:가|이) (?:정답|가장|맞)|(?:היא|הוא) (?:ה?תשובה|הנכונ|הסביר))",
    re.I,
)
_RIGHT_ANSWER = re.compile(
    r"answer|option|choice|correct|right|respuesta|resposta|bonne|richtig|correct[ao]|corret[ao]|正|תשוב|הנכו|정답",
    re.I,
)
MADE_RIGHT = re.compile(
    r"[\"')\]]{0,2},?\s{0,3}(?:as |to be )?(?:the )?(?:most |single )?(?:correct|likely|best|appropriate|right|probable|accurate|suitable|answer)\b",
    re.I,
)
MAKES = re.compile(
    r"\b(?:making|makes|make|supports?|supporting|leaves|leaving|confirms?|confirming|favou?rs?|favou?ring|establish(?:es|ing)?)(?: option| answer| choice)?\Z",
    re.I,
)


def says_answer(what: str) -> bool:
    """Return whether `what` an option is called is the answer, and not only the likeliest or best of something."""
    return _RIGHT_ANSWER.search(what) is not None


NEGATION = re.compile(
    r"\b(?:not|never|no|nor|neither|cannot|without|incorrect\w?|wrong|unlikely|false|excludes?|excluded|excluding|eliminates?|eliminated|eliminating|discard(?:ed)?|"
    r"rejects?|rejected|exclu[iy]\w{0,6}|elimin[oa]\w{0,6}|écart\w{0,4}|rul(?:e|es|ed|ing)[ -]out|rather than|instead of|except|unlike|against|least|less|than|descart\w{0,8}|"
    r"incorrect[ao]|nunca|tampoco|sin|não|sem|pas|nicht|kein\w{0,3}|ne|n|non|avoid|contraindicat\w{0,5})\b|n't\b|不是|不选|并非|非|לא|אינ[הו]?|ではな|じゃな",
    re.I,
)
NEGATED_AFTER = re.compile(
    r"[\s)*\].\"':,;–—-]{0,8}(?:this |it |that |which |option |choice |answer |typically |usually |while |also |however,? |although |though )?(?:(?:is|are|was|were|seems?|appears?|looks?|can|could|would|should|does|do|did|has|have|may|es|é|est|ist|no|be|been|therefore|also|clearly|most|likely|probably|very|less|highly|definitely|typically|usually|generally|thus|are typically|is typically|to be|rather|considered|be considered)\s{1,3}){0,4}"
    r"(?:not\b|no\b|never|incorrect|wrong|unlikely|false|(?:be\s)?(?:ruled out|excluded|eliminated|discarded|rejected)|less likely|less (?:appropriate|relevant|probable|common|suitable|plausible|consistent)|least likely|inappropriate|irrelevant|contraindicated|impossible|absent|rare(?:ly)?\b|uncommon|too\b|isn't|doesn't|aren't|can't|cannot|wouldn't|incorrect[ao]|incorret[ao]|improbable|não\b|nicht\b|falsch|faux|fausse|menos\b|pas\b|ではあり|ではな|不(?:是|对|正确|正確|符合|太|典型)|[가이] 아|אינ|לא\b)",
    re.I,
)
# In the sentence of the answer.
HEDGE = re.compile(
    r"\b(?:might|could|may|maybe|perhaps|possibly|either|unsure|uncertain|unclear|podría|podria|poderia|pourrait|quizás?|talvez|peut-être|vielleicht|könnte)\b"
    r"|可能(?!的|性)|或许|也许|かもしれ|ייתכן",
    re.I,
)
# Anywhere in the sentence of the answer.
CONDITION = re.compile(
    r"(?<!determine )(?<!see )(?<!check )(?<!assess )\b(?:if|whether|unless|si|wenn)\b|(?:^|[,;:]\s)(?:e )?se\b|如果|若|もし|(?<!この)(?<!その)場合|(?<!\w)אם\b|만약",
    re.I,
)
MUST_CHOOSE = re.compile(
    r"\bif (?:i|we|you|one) (?:had|have|must|were|was|were forced|am|are|need) (?:to )?(?:forced to )?(?:choose|select|pick|guess|answer|give|make|say)?",
    re.I,
)
REFUSES = re.compile(
    r"\b(?:i|we)(?:'m| am| are|'re)? (?:cannot|can't|can not|could not|couldn't|unable|not able|not sure|unsure|not certain|uncertain|don't know|do not know|don't have|do not have|am not sure)\b"
    r"|\b(?:cannot|can't|can not|could not) be (?:determined|answered|said|told|given|identified)\b|\b(?:unable|impossible|difficult|hard|not possible) to (?:determine|say|tell|answer|decide|choose|identify)\b"
    r"|\bcannot (?:determine|answer|tell|say|provide|be sure)\b|\b(?:not enough|insufficient) (?:information|data|detail)\b|\bi'm sorry\b|\bsorry\b|\bno puedo\b|\blo siento\b|\bno (?:idea|clear answer)\b|\bnone of the (?:above|options|given)\b|\buncertain\b|\bunclear\b|\bit depends\b"
    r"|无法(?:确定|判断|诊断|回答|做出)|不确定|难以(?:确定|判断)|抱歉|わかりません|できません|לא (?:ניתן|יכול)",
    re.I,
)
# What chatty models add and what is about no option.
DISCLAIMER = re.compile(
    r"\b(?:disclaimer|important note|please note|note that|consult\w{0,5}|healthcare|health care|professional|physician|doctor|specialist|medical advice|medical attention|educational purposes?|informational purposes?|as an ai|an ai|language model|ai (?:model|assistant|chatbot)|not a substitute|should not be|qualified|clinical correlation|further (?:evaluation|investigation|testing|information|tests|workup|work-up)|definitive diagnosis|médico|profesional|profissional|médecin|arzt)\b|医生|医師|専門|רופא|의사",
    re.I,
)
PLEASANTRY = re.compile(
    r"\b(?:hope (?:this|that|it) helps|(?:any|have|more|other|further|additional) (?:other |more |further )?questions\b|anything else|you're welcome|is there anything)",
    re.I,
)
DOUBT = re.compile(
    r"(?<!and )\bwait(?=\s{0,2}[,.!:…—–-]|\s(?:but|no|let|that|actually|i|maybe)\b)|\bhold on\b|\bscratch that\b|\bhm{1,5}\b|\boops\b|\bcorrection\b(?=\s{0,2}[:,;–—-])"
    r"|\bon reflection\b|\bon (?:second|closer|further) (?:look|thought|inspection|review|consideration|reflection|reading)s?\b"
    r"|\blet me (?:re\w{0,12}|think|check|look|double)\b|\bi (?:meant|misread|misspoke|was wrong|change my)\b|\bmy (?:mistake|bad)\b|\bmy apologies\b|\bactually,"
    r"|\bno, (?:that|it|wait|actually|rather)\b|\bsorry, (?:i|it|that|the|my)\b|\bperdón\b|\ben realidad\b|等等|不对|[，,]\s?不[，,]",
    re.I,
)
RETRACTED = re.compile(
    r"\b(?:that|this|it|which)(?:\sis|'s|\swas) (?:also )?(?:wrong|incorrect|false|not (?:correct|right|true|the case))\b"
    r"|\b(?:that|this|it) isn't (?:correct|right|true)|\bno, ",
    re.I,
)
REVISION = re.compile(
    r"\b(?:wait|correction|corrected|actually|on (?:closer|second|reflection)|revised|revise|reconsider\w{0,4})\b", re.I
)
# What keeps an option's words in a sentence from being the answer.
UNCOMMITTED = re.compile(
    r"\b(?:(?:would|will|does|do) need|needs? (?:more|higher|further|additional)|needed to|required to|(?:is|are) needed|(?:be|is|are) required|(?:be|is|are) needed|"
    r"differentials?|history of|(?:previous|prior|one|another) (?:possible )?diagnosis|to (?:tell|distinguish|differentiate|separate|exclude|confirm)|insufficient|not enough|"
    r"(?:is|are)(?:n't| not) (?:visible|shown|provided|attached|available|possible|clear|included|legible)|including|such as|for example|like)\b",
    re.I,
)
# "right" and the like as other words than a side.
ADVERB = re.compile(r"(?:\b(?:you're|you are|that's|that is|all)\s{1,3})\Z", re.I)
ADVERB_AFTER = re.compile(
    r",\s{1,3}(?:so|but|and|the|i|it|let|this)\b|\s{1,3}(?:to|away|now|answer|choice|here|there|about|that)\b|\s?\?",
    re.I,
)
CONTRAST = re.compile(
    r"\b(?:but|however|although|though|except|apart from|otherwise|whereas|while|despite|with|without|and)\b|[.;\n]\s{0,3}\w",
    re.I,
)
HEADING = re.compile(
    r"\W{0,6}(?:the )?(?:(?:final|correct|my|best|selected|chosen|right|respuesta|resposta|réponse) ){0,2}(?:answer|choice|option|selection|respuesta|resposta|réponse|antwort|lösung|opción|opção|correcta|correcte|correta|final|diagnosis|答案|回答|正解|答え|정답|תשובה)(?: (?:option|choice|letter|is))?\W{0,6}\Z",
    re.I,
)
NOT_THAT = re.compile(
    r"(?:n't|\bnot|\bnever|\bno|\bnão|\bnicht)\s{1,3}(?:think|believe|say|mean|agree|sure|certain|true|clear|know|that|the case|necessarily|creo|acho)\b|\b(?:one|another|an|a) (?:\w{1,20} )?(?:incorrect|wrong)\b|\b(?:other|alternative|differential|previous|prior|initial|presumed|referring) (?:\w{1,12} )?(?:answers?|options?|choices?|diagnos[ei]s)\b|\bfirst diagnosis\b",
    re.I,
)
SECOND_ONE = r"(?:[\"')\]」]{0,2}\s{0,3}(?:(?:,|;|/|&|\+|–|—|-|、)|\b(?:and|or|y|o|u|e|ou|et|und|oder|vs\.?|versus)\b|和|或|と|や|または|もしくは|あるいは|ו|או)\s{0,3}){1,2}(?:(?:possibly|perhaps|maybe|probably|potentially|even|also|alternatively|else|option|choice|the|an?)\s{1,3}){0,3}[\"'(「]{0,2}"
OR_TRAILS = re.compile(r"\s{0,3}(?:\b(?:or|and|vs\.?|versus|oder|ou)\b|/)\s{0,3}\w{0,3}\Z", re.I)
HOWEVER = re.compile(r"\W{0,6}(?:however|alternatively)\b", re.I)
LIKELY = re.compile(
    r"(?:(?:so|therefore|thus|hence|most likely|very likely|most probably|likely|probably|almost certainly|certainly|definitely|clearly)[:,]?\s{1,3}){1,2}"
    r"(?:(?:it is|it's|the|an?)\s{1,3}){0,2}",
    re.I,
)
TEXT_END = re.compile(
    r"[\"')\]」』]{0,2}\s{0,2}(?:$|[.,;:!(。，、\n–—-]|です|で|と|(?:because|since|as|due|given|which|based|for|porque|ya que|weil|que|and the|with)\b)",
    re.I,
)
# An option's words held up beside others, which need be no option's: "type A or AB".
OR_AFTER = re.compile(r"\s{0,2}[,(]?\s?(?:(?:or|vs|versus|oder|ou)\b|/)", re.I)
OR_BEFORE = re.compile(r"(?:\b(?:or|vs\.?|versus|oder|ou)\s{1,3}(?:an?\s|the\s)?|/\s?)\Z", re.I)


def clause_before(text: str, at: int) -> str:
    """Return the words of the clause that ends at `at`, of the 90 characters before it."""
    return re.split(r"[.,;:\n。，]|\b(?:so|therefore|but|thus|hence)\b", text[max(0, at - 90) : at])[-1]


def denied(text: str, start: int, end: int) -> bool:
    """Return whether a negation stands before `start` in its clause, or follows at `end`."""
    return bool(NEGATION.search(clause_before(text, start)) or NEGATED_AFTER.match(text, end))
