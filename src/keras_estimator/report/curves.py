"""Thin a curve for a picture, so that it looks the same."""

from __future__ import annotations

import math
from collections.abc import Sequence


def thinned(values: Sequence[float], most: int) -> list[int]:
    """Choose at most about `most` places of a curve, so that its picture stays the same.

    Of each stretch its lowest and its highest value are kept, and where it is not finite; so are both ends.

    Returns:
        Places, rising.
    """
    if len(values) <= most:
        return list(range(len(values)))
    kept = {0, len(values) - 1}
    num_stretches = max(1, most // 2)
    for stretch in range(num_stretches):
        begin, end = (len(values) * part // num_stretches for part in (stretch, stretch + 1))
        places = range(begin, end)
        finite = [place for place in places if math.isfinite(values[place])]
        if len(finite) < len(places):
            kept.add(next(place for place in places if not math.isfinite(values[place])))
        if finite:
            kept |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    return sorted(kept)
