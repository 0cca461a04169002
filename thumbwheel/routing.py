"""Who is answered by which release: a pure function of the channel's table and the unit.

A unit hashes, under the channel's salt of the moment, to a point of [0, 1). Each candidate owns a band: intervals that
only grow, out of what the stable release owns, so nobody who has been given to a candidate is taken from it while the
weight rises, and no unit moves from one candidate to another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from thumbwheel.records import Channel, Interval, Variant


def point(salt: str, unit: str) -> float:
    """Where `unit` lies on [0, 1) under `salt`: the first 53 bits of BLAKE2b, so every value is exact."""
    digest = hashlib.blake2b(unit.encode("utf-8", "surrogatepass"), digest_size=8, key=salt.encode()[:64]).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def assign(channel: Channel, unit: str) -> Variant:
    """The variant that `unit` belongs to."""
    at = point(channel.salt, unit)
    for variant in channel.variants:
        if any(low <= at < high for low, high in variant.band):
            return variant
    return Variant(channel.stable, "stable")


def free(variants: Sequence[Variant]) -> tuple[Interval, ...]:
    """What the candidates leave to the stable release, in order."""
    taken = sorted(interval for variant in variants for interval in variant.band)
    gaps: list[Interval] = []
    at = 0.0
    for low, high in taken:
        if low > at:
            gaps.append((at, low))
        at = max(at, high)
    if at < 1.0:
        gaps.append((at, 1.0))
    return tuple(gaps)


def grow(variants: Sequence[Variant], release: str, weight: float) -> tuple[Variant, ...]:
    """The variants with `release` widened to `weight` percent, out of the stable release's share.

    Raises ValueError where that would shrink its band, or where the stable release has too little left.
    """
    target = next(variant for variant in variants if variant.release == release)
    want = weight / 100.0 - sum(high - low for low, high in target.band)
    if want < -1e-9:
        raise ValueError(f"a band only grows: {target.weight:g}% to {weight:g}%")
    added: list[Interval] = []
    for low, high in free(variants):
        if want <= 1e-12:
            break
        part = min(high - low, want)
        # The end is taken as it stands where the whole gap goes: sums of fractions would leave a sliver behind.
        added.append((low, high if part == high - low else low + part))
        want -= part
    if want > 1e-9:
        raise ValueError(f"the stable release has too little left to widen {release} to {weight:g}%")
    widened = replace(target, band=_join((*target.band, *added)))
    return tuple(widened if variant.release == release else variant for variant in variants)


def _join(band: Sequence[Interval]) -> tuple[Interval, ...]:
    joined: list[Interval] = []
    for low, high in sorted(band):
        if joined and joined[-1][1] == low:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return tuple(joined)
