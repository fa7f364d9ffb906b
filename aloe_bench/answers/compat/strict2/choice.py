"""What option a reply names, or nothing: the strict parser.

Nothing is guessed. A reply that can be read two ways is unread (`letter=None`), because a wrong letter moves a
score silently and an unread one is counted. Order: clean the reply (`answer_reading`), then look for a letter alone,
an announced letter, a leading one, an announced option text, a marked letter, a last letter, and an option's own
text. `rule` says which of these fired. Every pattern is bounded, so time is linear in the reply.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from aloe_bench.answers.compat.strict2.cleaning import plain_text, without_reasoning
from aloe_bench.answers.compat.strict2.options import Item, bare, flat
from aloe_bench.answers.compat.strict2.patterns import (
    ABBREVIATED,
    ALTERNATIVE,
    ARTICLE_LINE,
    DOUBT,
    EDGE,
    HEDGE,
    HOWEVER,
    IS_CORRECT,
    LAST_LETTER,
    LIKELY,
    LOOSE_LAST,
    MARKED,
    NAMED,
    NEGATED_AFTER,
    NEGATION,
    NEW_PARAGRAPH,
    NEXT_LINE,
    PHRASE,
    PRAISED,
    REFUSAL,
    REMARK,
    REMARKED,
    RETRACTED,
    REVISION,
    RUN,
    SECOND,
    SENTENCE_LETTER,
    SPECIES,
    clause_before,
    hedged,
)
from aloe_bench.answers.compat.strict2.reading import Parsed, answer_text, parse
from aloe_bench.answers.compat.strict2.wording import announced_text, option_text
from aloe_bench.answers.compat.strict2.yes_no import parse_yes_no

__all__ = ["VERSION", "Parsed", "answer_text", "parse_choice", "parse_yes_no", "without_reasoning"]

VERSION = 2


def _named(pattern: re.Pattern[str], text: str, at: int, item: Item, reach: int = sys.maxsize) -> set[str]:
    """Return the letters of the item that `pattern` finds in `reach` characters of `text` from `at` on."""
    return {
        g for m in pattern.finditer(text, at, min(at + reach, len(text))) for g in m.groups() if g and g in item.letters
    }


def _wavers(letter: str, text: str, at: int, item: Item) -> bool:
    """Return whether `text` takes `letter` back after `at`, or holds out another letter."""
    if HOWEVER.match(text, at) or DOUBT.search(text, at) or RETRACTED.search(text, at, at + 60):
        return True
    return bool((_named(ALTERNATIVE, text, at, item) | _named(PRAISED, text, at, item)) - {letter})


def _opens_list(letter: str, text: str, phrase: re.Match[str], end: int) -> bool:
    """Return whether the letter after `phrase` is but the first of the options' list, one a line."""
    if "\n" not in phrase.group(0) and not phrase.group("so"):
        return False
    later = NEXT_LINE.search(text, end, end + 600)
    return later is not None and ord(later.group(1).upper()) == ord(letter) + 1


def _beside_another(letter: str, text: str, end: int, item: Item) -> bool:
    """Return whether the letter that ends at `end` is one of several: "B. Edema or C", "A. B. C.", "A: 20%, B: 80%"."""
    if item.offers_another(letter, text, end):
        return True
    if item.stated(text[end : end + 600]) == letter:
        return False
    if (run := RUN.match(text, end)) and run.group(1) in item.letters and run.group(1) != letter:
        return True
    return bool(REMARK.match(text, end - 1) and _named(REMARKED, text, end, item, 600) - {letter})


def _announcement(text: str, item: Item, phrase: re.Match[str]) -> Parsed | tuple[str, int] | None:
    """Return the letter that `phrase` announces and its end, why it is unread, or `None` if it announces none."""
    clause = clause_before(text, phrase.start())
    if NEGATION.search(clause) or HEDGE.search(clause) or not (read := item.letter_at(text, phrase.end())):
        return None
    letter, end = read
    if NEGATED_AFTER.match(text, item.past(letter, text, end)) or RETRACTED.search(text, end, end + 90):
        return None
    if _opens_list(letter, text, phrase, end):
        return None
    shared = SECOND.match(text, end) and item.stated(text[end : end + 600]) != letter
    if shared or _beside_another(letter, text, end, item):
        return Parsed(None, "two-letters")
    return read if item.fits(letter, text, end) else Parsed(None, "letter-and-text-differ")


def _announced(text: str, item: Item) -> Parsed | None:
    found: list[tuple[bool, str, int]] = []
    for phrase in PHRASE.finditer(text):
        one = _announcement(text, item, phrase)
        if isinstance(one, Parsed):
            return one
        if one:
            revised = bool(found) and REVISION.search(text, max(0, phrase.start() - 90), phrase.start())
            found.append((phrase.group("final") is not None or bool(revised), *one))
    if not found:
        return None
    finals = [one for one in found if one[0]]
    _, letter, end = finals[-1] if finals else found[-1]
    if not finals and len({letter for _, letter, _ in found}) > 1:
        return Parsed(None, "two-letters")
    if _wavers(letter, text, end, item):
        return Parsed(None, "self-correction")
    return Parsed(letter, "final-answer" if finals else "announced")


def _stands_out(match: re.Match[str], text: str, item: Item) -> bool:
    """Whether a letter in brackets names an option, and not "figure (B)" or "grade (B)"."""
    if match.re is not MARKED or not match.group(2):
        return True
    before = text[max(0, match.start() - 600) : match.start()].lower().rstrip(" \t*\"'")
    own = item.texts.get(match.group(2).upper())
    return (
        before[-1:] in ("", "\n") or bool(own and before.endswith(own)) or bool(IS_CORRECT.match(text, match.start()))
    )


def _mark(match: re.Match[str], text: str, item: Item) -> Parsed | tuple[str, bool] | None:
    """Return the letter that a mark names and whether it stands out, why it is unread, or `None` if it names none."""
    raw, end = next(g for g in match.groups() if g), match.end()
    letter = raw.upper()
    own = item.stated(text[end : end + 600]) == letter
    denied_before = NEGATION.search(clause_before(text, match.start()))
    if letter not in item.letters or denied_before or NEGATED_AFTER.match(text, item.past(letter, text, end)):
        return None
    if text[end : end + 1] == "?" or not _stands_out(match, text, item):
        return letter, False
    if (match.re is NAMED and not own) or (raw in "Aa" and ARTICLE_LINE.match(text, end)):
        return None
    if raw.islower() and re.match(r"\s{1,3}(?!(?:or|and)\b)\w", text[end : end + 6]) and not own:
        return None
    lead, mine = text[max(0, match.start() - 300) : match.start()].lower().rstrip(" \t,:(-"), item.texts[letter]
    other_before = any(v and lead.endswith(v) for v in item.texts.values()) and not (mine and lead.endswith(mine))
    if other_before or not item.fits(letter, text, end):
        return Parsed(None, "letter-and-text-differ")
    if match.group(0).endswith(".") and not own and re.match(r"\s[a-zà-ÿ]", text[end : end + 2]):
        return None
    return Parsed(None, "two-letters") if _beside_another(letter, text, end, item) else (letter, True)


def _marked(text: str, item: Item) -> Parsed | None:
    """Return the one letter that stands out in `text`, as "Option B", "(B)", "B." opening a line or "B is correct"."""
    found: dict[str, int] = {}
    passing: set[str] = set()
    stated: list[tuple[int, int]] = []
    for match in [*MARKED.finditer(text), *IS_CORRECT.finditer(text), *NAMED.finditer(text)]:
        mark = _mark(match, text, item)
        if isinstance(mark, Parsed):
            return mark
        if mark and mark[1]:
            found[mark[0]] = max(match.end(), found.get(mark[0], 0))
            stated.append((match.end(), item.past(mark[0], text, match.end())))
        elif mark:
            passing.add(mark[0])
    if len(found.keys() | passing) > 1:
        return Parsed(None, "two-letters")
    if not found:
        return Parsed(None, "letter-in-passing") if passing else None
    if hedged(text, stated, REFUSAL, HEDGE):
        return Parsed(None, "hedge")
    (letter, last), *_ = found.items()
    return Parsed(None, "self-correction") if _wavers(letter, text, last, item) else Parsed(letter, "marked")


def _leading(text: str, item: Item, marked: Parsed | None) -> Parsed | None:
    """Return the letter that `text` begins with, perhaps after "most likely"; `None` if it is to be read otherwise."""
    likely = LIKELY.match(text)
    at = likely.end() if likely else 0
    read = item.letter_at(text, at)
    if not read or (likely and (text[at].islower() or HEDGE.search(text))):
        return None
    letter, end = read
    own = item.stated(text[end : end + 600]) == letter
    past = item.past(letter, text, end)
    negated = NEGATED_AFTER.match(text, past) and not (own and NEW_PARAGRAPH.match(text, past))
    if negated or (SECOND.match(text, end) and not own):
        return None
    if not item.fits(letter, text, end):
        return Parsed(None, "letter-and-text-differ")
    if _beside_another(letter, text, end, item):
        return Parsed(None, "two-letters")
    if _wavers(letter, text, end, item):
        return Parsed(None, "self-correction")
    stated = [(end, past)] if own else []
    if marked and marked.letter not in (letter, None):
        return Parsed(None, "two-letters")
    if (marked and not marked.letter) or hedged(text, stated, REFUSAL):
        return None
    return Parsed(letter, "leading-letter")


def _first_line(text: str, item: Item) -> tuple[str, str] | None:
    """Return the letter that is alone on the first line, and the lines after it."""
    head, _, rest = text.partition("\n")
    letter = bare(head).upper()
    article = letter in "AI" and rest.strip()[:1].islower()
    alone = len(letter) == 1 and letter in item.letters and "?" not in head and not article
    return (letter, rest.strip()) if alone else None


def _explained(letter: str, rest: str, item: Item) -> Parsed | None:
    """Return `letter` if the lines after it explain it: none begins with a letter, concludes otherwise or wavers."""
    low = flat(rest).lower()
    told = announced_text(rest, item)
    texts = {item.of_text(option) for option, _, _ in item.mentions(low)}
    if (
        len(rest.split()) < 4
        or NEGATED_AFTER.match(rest)
        or re.search(r"^[ \t]{0,4}\(?[A-Z](?:[.):]|[ \t]{0,4}$)", rest, re.M)
    ):
        return None
    if (told and told.letter != letter) or (texts and len(texts) == 1 and texts != {letter}):
        return Parsed(None, "letter-and-text-differ")
    if hedged(rest, [], REFUSAL) or _wavers(letter, rest, 0, item):
        return None
    return Parsed(letter, "letter-explained")


def _last_letter(text: str, item: Item) -> Parsed | None:
    """Return the letter that alone is the last sentence or line of `text`, where no sentence begins with another.

    It is unread where the text before it names another option by its words.
    """
    tail = LAST_LETTER.search(text, max(0, len(text) - 60))
    if not tail or (letter := tail.group(1)) not in item.letters:
        return None
    before = text[: tail.start(1)].rstrip("( \n")
    if before.endswith(":") or ABBREVIATED.search(text[: tail.start(1)].rstrip("(")):
        return None
    spots = [(s, e) for option, s, e in item.mentions(flat(before).lower()) if item.of_text(option) == letter]
    if _named(SENTENCE_LETTER, before, 0, item) - {letter} or hedged(flat(before), spots, REFUSAL, DOUBT):
        return None
    same = option_text(before, item).letter in (None, letter)
    return Parsed(letter, "last-letter") if same else Parsed(None, "letter-and-text-differ")


def _by_position(text: str, item: Item, marked: Parsed | None) -> Parsed:
    """Return what a text says that neither announces nor begins with a letter."""
    last = _last_letter(text, item)
    found = [p for p in (marked, announced_text(text, item), last) if p]
    said = [p for p in found if p.letter]
    if len({p.letter for p in said}) > 1 or (last and not last.letter):
        return Parsed(None, "letter-and-text-differ")
    if found:
        return [*said, *found][0]
    if re.match(r"\(?[A-Za-z]\)?[.):]\s", text) and not SPECIES.match(text):
        return Parsed(None, "nothing-found")
    worded, tail = option_text(text, item), LOOSE_LAST.search(text, max(0, len(text) - 20))
    if worded.letter and tail and tail.group(1) in item.letters and tail.group(1) != worded.letter:
        return Parsed(None, "letter-and-text-differ")
    return worded


def _plain(raw: str, item: Item) -> Parsed:
    text = plain_text(raw)
    core = re.sub(r"^(?:(?:option|choice|letter|opción|answer)\s{1,3}|选项\s?)\(?", "", text.strip(EDGE), flags=re.I)
    if not core:
        return Parsed(None, "empty")
    if len(core) == 1 and core.upper() in item.letters and core.isascii():
        return Parsed(core.upper(), "letter-alone")
    first = _first_line(text, item)
    if (announced := _announced(text, item)) is not None:
        last = _last_letter(text, item)
        others = {first[0] if first else None, last.letter if last else None} - {None, announced.letter}
        if announced.letter and others and announced.rule != "final-answer":
            return Parsed(None, "two-letters")
        return announced
    if first and (explained := _explained(*first, item)) is not None:
        return explained
    marked = _marked(text, item)
    if (leading := _leading(text, item, marked)) is not None:
        told = announced_text(text, item) if leading.letter else None
        return Parsed(None, "letter-and-text-differ") if told and told.letter != leading.letter else leading
    return _by_position(text, item, marked)


def parse_choice(reply: str, choices: Sequence[str]) -> Parsed:
    """Return the letter `reply` names among `choices` ("A" is the first), or `None` with the reason in `rule`."""
    item = Item(choices)
    return parse(reply, lambda raw: _plain(raw, item))
