"""Intervals, tests and powers as docs/verifying.md has them."""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

import numpy as np
from scipy import optimize, special, stats

Array = np.ndarray[Any, Any]
Part = tuple[float, float, float]  # value, worth, freedom
Changes = tuple[float, float, float]  # gained, lost, n


def kish(loads: Array) -> float:
    return float(loads.sum() ** 2 / (loads**2).sum()) if loads.any() else 0.0


def exact_end(hits: float, n: float, tail: float) -> float:
    if hits <= 0:
        return 0.0

    def beyond(p: float) -> float:
        more = special.betainc(hits + 1, n - hits, p) if hits < n else 0.0
        return float(2 / 3 * special.betainc(hits, n - hits + 1, p) + 1 / 3 * more - tail)

    return float(optimize.brentq(beyond, 0, 1, xtol=1e-13))


def t_quantile(freedom: float, level: float = 0.05) -> float:
    return float(special.stdtrit(max(freedom, 1e-3), 1 - level / 2))


def inflation(sizes: Array, within: float) -> float:
    return 1 + max(0.0, float((sizes**2).sum() / sizes.sum()) - 1) * within


def correlation(columns: list[tuple[Array, Array]]) -> float | None:
    above = below = 0.0
    for values, clusters in columns:
        if not len(values):
            continue
        e, sizes = values - values.mean(), np.bincount(clusters)
        if (sizes > 1).any() and (e**2).mean() > 1e-12:
            above += float((np.bincount(clusters, weights=e) ** 2).sum() - (e**2).sum())
            below += float((sizes * (sizes - 1)).sum() * (e**2).mean())
    return min(1.0, max(0.0, above / below)) if below else None


def numbered(clusters: Array) -> Array:
    return np.unique(clusters, return_inverse=True)[1].reshape(-1)


def share(y: Array, clusters: Array, pooled: float | None) -> Part | None:
    n, codes, v = len(y), numbered(clusters), float(y.mean())
    sizes = np.bincount(codes)
    if len(sizes) < 2:
        return None
    if len(sizes) == n:
        if np.isin(y, (0, 1)).all():
            return v, n, inf
        return v, n * (n * v * (1 - v) + 1) / (((y - v) ** 2).sum() + 1), n - 1
    rarer = min((np.bincount(codes, weights=w) for w in (y, 1 - y)), key=kish)
    if (rarer > 1e-12).sum() < 8:
        return v, n / inflation(sizes, 1.0 if pooled is None else pooled), kish(sizes) - 1 if pooled else inf
    events = kish(rarer)
    within = pooled if pooled is not None else ((correlation([(y, codes)]) or 0.0) * events + 1) / (events + 1)
    variance = len(sizes) / (len(sizes) - 1) * (np.bincount(codes, weights=y - v) ** 2).sum() / n**2
    worth = v * (1 - v) / variance if variance > 1e-24 else inf
    return v, min(n / inflation(sizes, within), worth), min(kish(sizes), events) - 1


def one_share(part: Part) -> tuple[float, float]:
    v, worth, freedom = part
    counted = worth * (t_quantile(inf) / t_quantile(freedom)) ** 2
    return exact_end(v * counted, counted, 0.025), 1 - exact_end((1 - v) * counted, counted, 0.025)


def freedom_of(parts: list[Part]) -> float:
    a = 1 / len(parts)
    e = [a**2 * (v * w + 1) * ((1 - v) * w + 1) / w**3 for v, w, _ in parts]
    below = sum(one**2 / max(f, 1e-3) for one, (_, _, f) in zip(e, parts, strict=True))
    return float(sum(e) ** 2 / below) if below else inf


def mean_of_shares(parts: list[Part], level: float = 0.05, freedom: float | None = None) -> tuple[float, float]:
    z = t_quantile(freedom_of(parts) if freedom is None else freedom, level)

    def wilson(v: float, w: float, s: float) -> float:
        end = (v + s**2 / (2 * w) - s * sqrt(max(0, v * (1 - v)) / w + s**2 / (4 * w**2))) / (1 + s**2 / w)
        return min(v, max(0.0, end))

    def exact(v: float, w: float, s: float) -> float:
        return wilson(v, w, s) if v > 0.5 else min(v, exact_end(v * w, w, float(special.ndtr(-s))))

    def lower(values: list[float]) -> float:
        found = []
        for end_of in (wilson, exact):
            s = z
            for _ in range(200):
                ends = [end_of(v, w, s) for v, (_, w, _) in zip(values, parts, strict=True)]
                apart = [v - end for v, end in zip(values, ends, strict=True)]
                before, s = s, z * (sqrt(sum(x**2 for x in apart)) / sum(apart) if sum(apart) > 0 else 1.0)
                if abs(s - before) < 1e-10:
                    break
            found.append(sum(ends) / len(ends))
        return min(found)

    values = [v for v, _, _ in parts]
    return max(0.0, lower(values)), min(1.0, 1 - lower([1 - v for v in values]))


class Change:
    """The mean over blocks of paired changes; each block is first, second and clusters."""

    def __init__(self, blocks: list[tuple[Array, Array, Array]], pooled: float | None) -> None:
        self.n = sum(len(a) for a, _, _ in blocks)
        self.clusters = sum(len(np.unique(c)) for _, _, c in blocks)
        self.value = float(np.mean([(a - b).mean() for a, b, _ in blocks]))
        self.testable = all(len(np.unique(c)) > 1 for _, _, c in blocks)
        if self.testable:
            made = [effective(a - b, c, pooled) for a, b, c in blocks]
            self.pairs = [(g, lost, n) for g, lost, n, _ in made]
            self.freedom = freedom_of([((g + lost) / n, n, f) for g, lost, n, f in made])

    def interval(self, level: float = 0.05) -> tuple[float, float]:
        z = t_quantile(self.freedom, level)
        return change_end(self.pairs, z)[0], -change_end([(lost, g, n) for g, lost, n in self.pairs], z)[0]

    def p(self) -> float:
        pairs = self.pairs if self.value > 0 else [(lost, g, n) for g, lost, n in self.pairs]
        mean = float(np.mean([(g - lost) / n for g, lost, n in pairs]))
        if abs(mean) < 1e-12:
            return 1.0
        if len(pairs) == 1:
            g, lost, _ = pairs[0]
            z = (g - lost) / sqrt(g + lost)
        else:
            s = optimize.brentq(lambda s: np.mean([tango_end(*one, s) for one in pairs]), 0, 1e4, xtol=1e-10)
            z = s / together(pairs, [tango_end(*one, s) for one in pairs])
        return float(2 * special.stdtr(self.freedom, -z))

    def detectable(self, family: int) -> tuple[float | None, float]:
        a = 1 / len(self.pairs)
        q = [(g + lost + 1) / (n + 1) for g, lost, n in self.pairs]
        n = int(sum(a * x for x in q) / sum(a**2 * x / n for x, (_, _, n) in zip(q, self.pairs, strict=True)) + 1e-9)
        at = mean_of_shares([((g + lost) / m, m, self.freedom) for g, lost, m in self.pairs], 0.2)[1]
        z = t_quantile(self.freedom, 0.05 / family)
        if self.freedom <= 200 and not (n < 20 and self.freedom == n - 1):
            f = max(self.freedom, 1.0)
            top = 4 * z + 20
            c = (
                optimize.brentq(lambda c: special.nctdtr(f, c, z) - 0.2, 0, top)
                if special.nctdtr(f, top, z) < 0.2
                else 0
            )
            z = c - float(special.ndtri(0.8)) if c else top

        def short(x: float) -> float:
            return power(n, min(1.0, max(at, x)), min(x, 1.0), z) - 0.8

        if n < 2 or short(1.0) < 0:
            return None, at
        x = float(optimize.brentq(short, 1e-9, 1.0, xtol=1e-6))
        return x, max(at, x)


def power(n: int, discordance: float, x: float, z: float) -> float:
    m = np.arange(1, n + 1)
    mass = stats.binom.pmf(m, n, discordance)
    up = min(1.0, max(0.0, (discordance + x) / (2 * discordance)))
    most = np.floor((m + z * np.sqrt(m)) / 2 + 1e-9)
    least = np.ceil((m - z * np.sqrt(m)) / 2 - 1e-9) - 1
    return float((mass * (stats.binom.sf(most, m, up) + stats.binom.cdf(least, m, up))).sum())


def effective(d: Array, clusters: Array, pooled: float | None) -> tuple[float, float, float, float]:
    n, codes = len(d), numbered(clusters)
    gained, lost = float(d[d > 0].sum()), float(-d[d < 0].sum())
    unit = float(((d**2).sum() + 1) / (gained + lost + 1))
    sizes = np.bincount(codes)
    freedom = inf if abs(unit - 1) < 1e-9 and n >= 20 else n - 1.0
    if len(sizes) < n:
        changed = np.bincount(codes, weights=np.abs(d))
        freedom = kish(sizes) - 1
        if (changed > 1e-12).sum() < 8:
            unit *= inflation(sizes, 1.0 if pooled is None else pooled)
            freedom = freedom if pooled or freedom < 19 else inf
        else:
            e, events = d - d.mean(), kish(changed)
            within = pooled if pooled is not None else ((correlation([(d, codes)]) or 0.0) * events + 1) / (events + 1)
            robust = len(sizes) / (len(sizes) - 1) * (np.bincount(codes, weights=e) ** 2).sum() / (e**2).sum()
            unit *= max(inflation(sizes, within), robust)
            freedom = min(freedom, events - 1)
    return gained / unit, lost / unit, n / unit, freedom


def tango_variance(gained: float, lost: float, n: float, x: float) -> float:
    b = (2 * n - gained + lost) * x - gained - lost
    root = sqrt(max(0.0, b * b + 8 * n * lost * x * (1 - x)))
    return max(0.0, (root - b) / (2 * n) + x * (1 - x)) / n


def tango_end(gained: float, lost: float, n: float, s: float) -> float:
    v = (gained - lost) / n
    if s <= 0 or v <= -1:
        return v
    high = v if tango_variance(gained, lost, n, v) > 0 else v - 1e-12
    return float(optimize.brentq(lambda x: v - x - s * sqrt(tango_variance(gained, lost, n, x)), -1, high, xtol=1e-12))


def together(pairs: list[Changes], ends: list[float]) -> float:
    errors = [sqrt(tango_variance(*one, end)) for one, end in zip(pairs, ends, strict=True)]
    return sqrt(sum(e**2 for e in errors)) / sum(errors) if len(pairs) > 1 and sum(errors) else 1.0


def change_end(pairs: list[Changes], z: float) -> tuple[float, float]:
    s = z
    for _ in range(200):
        ends = [tango_end(*one, s) for one in pairs]
        before, s = s, z * together(pairs, ends)
        if abs(s - before) < 1e-10:
            break
    return float(np.mean(ends)), s


def holm(ps: list[float]) -> list[float]:
    order, found, most = sorted(range(len(ps)), key=ps.__getitem__), [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        most = max(most, min(1.0, (len(ps) - rank) * ps[i]))
        found[i] = most
    return found


def benjamini_hochberg(ps: list[float]) -> list[float]:
    order, found, least = sorted(range(len(ps)), key=lambda i: -ps[i]), [0.0] * len(ps), 1.0
    for rank, i in enumerate(order):
        least = min(least, ps[i] * len(ps) / (len(ps) - rank))
        found[i] = least
    return found


# -- Wordings like these ----------------------------------------------------------------------------------------------

Worded = tuple[Array, Array]  # the wording of each item, and its kind


def kinds_of(ids: Array, kinds: Array) -> dict[str, str]:
    """Return wording -> kind, kinds of one wording joined."""
    of: dict[str, set[str]] = {}
    for wording, kind in zip(ids.tolist(), kinds.tolist(), strict=True):
        of.setdefault(wording, set()).add(kind)
    if any(len(some) > 1 for some in of.values()):
        return dict.fromkeys(of, "")
    found = {wording: next(iter(some)) for wording, some in of.items()}
    sizes = {kind: list(found.values()).count(kind) for kind in sorted(found.values())}
    alone = {kind for kind, size in sizes.items() if size == 1}
    if len(alone) == 1:
        alone.add(max(sorted(sizes), key=lambda kind: sizes[kind]))
    return {wording: "alone" if kind in alone else f"kind {kind}" for wording, kind in found.items()}


def over(groups: list[Any], of: dict[Any, str], moved: Array, loads: Array) -> tuple[float, float]:
    """Return the variance over groups, and its freedom."""
    total = first = second = 0.0
    for kind in sorted(set(of.values())):
        names = [name for name in dict.fromkeys(groups) if of[name] == kind]
        place = {name: i for i, name in enumerate(names)}
        at = np.array([place.get(name, -1) for name in groups])
        sums, sizes = (np.array([v[at == i].sum() for i in range(len(names))]) for v in (moved, loads))
        p = sizes / sizes.sum()
        q = float((p**2).sum())
        kept = float((p**2 * (1 - 2 * p + q)).sum())
        if len(p) < 2:
            continue
        total += q / kept * float((sums**2).sum())
        matrix = np.outer(p, p) * (np.eye(len(p)) - p[:, None] - p[None, :] + q) * sizes.sum() ** 2 * q / kept
        first, second = first + np.trace(matrix), second + float((matrix**2).sum())
    return total, float(first**2 / second) if second else 0.0


def spread(e: Array, loads: Array, patients: list[Any], worded: Worded) -> tuple[float, float, float] | None:
    """Return the variance over wordings, that of patients within them, and the freedom; None of one wording."""
    ids = worded[0].tolist()
    of = kinds_of(*worded)
    if len(of) < 2:
        return None
    kinds = np.array([of[one] for one in ids])
    moved = loads * e
    for kind in set(kinds.tolist()):
        inside = kinds == kind
        moved[inside] -= loads[inside] * moved[inside].sum() / loads[inside].sum()
    variance, freedom = over(ids, of, moved, loads)
    cells = list(zip(patients, ids, strict=True))
    return variance, over(cells, {cell: of[cell[1]] for cell in cells}, moved, loads)[0], freedom


def widened(spreads: list[tuple[float, float, float]], own: float) -> tuple[float, float] | None:
    """Return by what counts are divided, and the freedom; None where the interval stays."""
    total = sum(v for v, _, _ in spreads)
    ratio = 1 + sum(v - c for v, c, _ in spreads) / own if own > 0 else 1.0
    if total <= 0 or ratio <= 0:
        return None
    return ratio, total**2 / sum(v**2 / f for v, _, f in spreads)


def wide_share(parts: list[Part], own: tuple[float, float], spreads: list[tuple[float, float, float]]) -> Any:
    by = widened(spreads, sum(v * (1 - v) / w for v, w, _ in parts) / len(parts) ** 2)
    if by is None:
        return own
    less = [(v, w / by[0], min(f, by[1])) for v, w, f in parts]
    few = min(by[1], freedom_of(parts))
    low, high = one_share(less[0]) if len(parts) == 1 else mean_of_shares(less, freedom=few)
    return min(low, own[0]), max(high, own[1])


def wide_change(change: Change, spreads: list[tuple[float, float, float]]) -> tuple[float, float]:
    own = change.interval()
    size = len(change.pairs) ** 2
    by = widened(spreads, sum(((g + lost) / n - ((g - lost) / n) ** 2) / n for g, lost, n in change.pairs) / size)
    if by is None:
        return own
    pairs = [(g / by[0], lost / by[0], n / by[0]) for g, lost, n in change.pairs]
    z = t_quantile(min(by[1], change.freedom))
    low, high = change_end(pairs, z)[0], -change_end([(lost, g, n) for g, lost, n in pairs], z)[0]
    return min(low, own[0]), max(high, own[1])
