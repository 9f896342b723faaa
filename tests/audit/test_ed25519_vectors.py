"""Signatures at the edges of the curve: keys and R with a part of low order, R spelled otherwise.

Such a key is no point of low order, so it loads (`test_points.py` has those that do not). Both
implementations go by the formula of RFC 8032 without the cofactor: what is left over of low order
is refused, and so is an R that is not canonical. Made here, of the kinds that public vectors have.
"""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit import single
from audit.note import check_point
from audit.single import BASE, L, P, Point, add

ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
ORDER_4: Point = (ROOT_OF_MINUS_ONE, 0, 1, 0)
A, R = 7**80 % L, 5**80 % L


def times(number: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    for bit in f"{number:b}":
        total = add(total, total)
        total = add(total, point) if bit == "1" else total
    return total


def encoded(point: Point) -> bytes:
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def judged(key: bytes, message: bytes, signature: bytes) -> bool:
    """What both say."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        installed = True
    except InvalidSignature:
        installed = False
    assert single.signed(key, message, signature) is installed
    return installed


@pytest.mark.parametrize("part", range(4))
def test_what_is_left_over_of_low_order_is_refused_by_both(part: int) -> None:
    key = encoded(add(times(A, BASE), times(part, ORDER_4)))
    check_point(key)
    accepted = 0
    for number in range(12):
        message = b"message %d" % number
        for other in range(4):
            first = encoded(add(times(R, BASE), times(other, ORDER_4)))
            h = int.from_bytes(hashlib.sha512(first + key + message).digest(), "little") % L
            good = (other + h * part) % 4 == 0
            signature = first + ((R + h * A) % L).to_bytes(32, "little")
            assert judged(key, message, signature) is good
            accepted += good
    assert accepted > 0


@pytest.mark.parametrize("spelling", [0, P, 1, P + 1, 1 << 255, 1 | 1 << 255, (P + 1) | 1 << 255])
def test_an_r_of_low_order_counts_in_its_one_spelling_only(spelling: int) -> None:
    key, first = encoded(times(A, BASE)), spelling.to_bytes(32, "little")
    for number in range(4):
        message = b"message %d" % number
        h = int.from_bytes(hashlib.sha512(first + key + message).digest(), "little") % L
        signature = first + (h * A % L).to_bytes(32, "little")
        assert judged(key, message, signature) is (spelling == 1)
