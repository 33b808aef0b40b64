"""Numbers in sentences: as many decimals as their intervals support."""

import math

from semcom.evaluation.intervals import Interval

MINUS = "−"


def places_of(interval: Interval, most: int) -> int:
    """Decimals down to the first digit of half an interval, and no more than ``most``; these where an end is
    open or both are one."""
    half = (interval.high - interval.low) / 2
    if not math.isfinite(half) or half <= 0:
        return most
    return min(most, max(0, -math.floor(math.log10(half))))


def significant(value: float, places: int, most: int) -> int:
    """``places``, or more where a value would else have less than two digits that say something."""
    if value == 0 or not math.isfinite(value):
        return places
    return min(most, max(places, 1 - math.floor(math.log10(abs(value)))))


def plain(value: float, places: int) -> str:
    """z: no "-0.0"."""
    return format(value, f"z.{places}f").replace("-", MINUS)


def bracketed(interval: Interval, most: int) -> str:
    """A value with its interval; by itself where both ends are open."""
    places = places_of(interval, most)
    if math.isinf(interval.low) and math.isinf(interval.high):
        return plain(interval.value, places)
    low, high = (_end(end, places) for end in (interval.low, interval.high))
    return f"{plain(interval.value, places)} [{low}, {high}]"


def _end(end: float, places: int) -> str:
    if math.isinf(end):
        return "∞" if end > 0 else f"{MINUS}∞"
    return plain(end, places)
