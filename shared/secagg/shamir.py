"""Shamir's secret sharing over GF(2^128): pycryptodome's shares, in a hundredth of its time.

Same field (x^128 + x^7 + x^2 + x + 1), polynomials, share numbers and bytes as
`Crypto.Protocol.SecretSharing.Shamir`, which tests compare with: either joins what the other split.
A cohort of a thousand would spend minutes in that module, which multiplies bit by bit.

References
----------
Shamir, "How to share a secret", 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

SECRET = 16
"""Bytes of a secret, and of each share of it."""

_LANE = 18  # bytes: 128 bits of a share, and 16 that a product with its number may run over
_FIELD = (1 << 128) - 1


def split(secret: bytes, threshold: int, count: int, draw: Callable[[int], bytes]) -> list[bytes]:
    """Shares number 1 to `count`, of which any `threshold` give the secret and fewer tell nothing.

    A polynomial of degree threshold - 1 with the secret as constant is evaluated at 1 ... count, in
    all places at once (Horner's scheme): every share has a lane of one long whole number. No branch
    and no address depends on the secret.

    Parameters
    ----------
    secret : bytes
        16.
    threshold : int
        1 to count.
    count : int
        Up to 65,535.
    draw : callable
        Number of bytes -> so many random ones: the other coefficients.
    """
    ones, numbers, over = _lanes(count)
    drawn = draw(SECRET * (threshold - 1))
    coefficients = [drawn[n : n + SECRET] for n in range(0, len(drawn), SECRET)]
    shares = 0
    for coefficient in [*coefficients, secret]:
        product = 0
        for bit, having in enumerate(numbers):
            product ^= (shares & having) << bit
        high = product & over
        product ^= high
        high >>= 128
        product ^= high ^ (high << 1) ^ (high << 2) ^ (high << 7)
        shares = product ^ (ones * int.from_bytes(coefficient, "big"))
    lanes = shares.to_bytes(_LANE * count, "little")
    return [lanes[n : n + SECRET][::-1] for n in range(0, len(lanes), _LANE)]


def join(shares: Mapping[int, bytes]) -> bytes:
    """The secret, of exactly as many shares by number as its threshold; 16 bytes.

    Of fewer, or with a false one among them, some other 16 bytes.
    """
    weights = _weights(tuple(shares))
    secret = 0
    for weight, share in zip(weights, shares.values(), strict=True):
        secret ^= _multiply(weight, int.from_bytes(share, "big"))
    return secret.to_bytes(SECRET, "big")


@lru_cache(maxsize=8)
def _lanes(count: int) -> tuple[int, tuple[int, ...], int]:
    """1 in every lane; by bit, all bits of those lanes whose number has it; what runs over."""

    def everywhere(pattern: int, bit: int = -1) -> int:
        wanted = (bit < 0 or number >> bit & 1 for number in range(1, count + 1))
        chosen, empty = pattern.to_bytes(_LANE, "little"), bytes(_LANE)
        return int.from_bytes(b"".join(chosen if each else empty for each in wanted), "little")

    numbers = tuple(everywhere(_FIELD, bit) for bit in range(count.bit_length()))
    return everywhere(1), numbers, everywhere(0xFFFF << 128)


@lru_cache(maxsize=64)
def _weights(numbers: tuple[int, ...]) -> list[int]:
    """What each share counts: the product of m / (m + n) over the other numbers m, at n."""
    product, below = 1, []
    for number in numbers:
        product = _multiply(product, number)
        denominator = number
        for other in numbers:
            if other != number:
                denominator = _multiply(denominator, other ^ number)
        below.append(denominator)
    return [_multiply(product, each) for each in _inverses(below)]


def _inverses(elements: list[int]) -> list[int]:
    """1 / each, by one inversion: a power of the product of all."""
    products = [1]
    for element in elements:
        products.append(_multiply(products[-1], element))
    inverse, square = 1, products[-1]
    for _ in range(127):  # the exponent 2^128 - 2
        square = _multiply(square, square)
        inverse = _multiply(inverse, square)
    found = []
    for element, product in zip(reversed(elements), reversed(products[:-1]), strict=True):
        found.append(_multiply(inverse, product))
        inverse = _multiply(inverse, element)
    return found[::-1]


def _multiply(one: int, other: int) -> int:
    product = 0
    while other:
        if other & 1:
            product ^= one
        one <<= 1
        other >>= 1
    while high := product >> 128:
        product = (product & _FIELD) ^ high ^ (high << 1) ^ (high << 2) ^ (high << 7)
    return product
