"""Passcodes of users as scrypt hashes (RFC 7914), each with a salt of its own and the cost that it was made with."""

import hashlib
import hmac
import os

COST, BLOCKS, PARALLEL = 1 << 14, 8, 1
"""16 MiB and some 50 ms a trial."""
DEAREST = 1 << 20
"""No file may ask for more than 1 GiB of memory."""
SALT_BYTES = 16
KEY_BYTES = 32


def hash_of(passcode: bytes) -> str:
    """`scrypt$COST$BLOCKS$PARALLEL$SALT$HASH`, the last two in hex."""
    salt = os.urandom(SALT_BYTES)
    return _written(salt, _key(passcode, salt, COST, BLOCKS, PARALLEL))


def of_nobody() -> str:
    """A hash that costs a trial like every other, and that no passcode is known for."""
    return _written(os.urandom(SALT_BYTES), os.urandom(KEY_BYTES))


def is_hash(text: str) -> bool:
    """Whether a text is what `hash_of` gives."""
    try:
        matches(b"", text)
    except ValueError:
        return False
    return True


def matches(passcode: bytes, known: str) -> bool:
    """Whether a hash is that of a passcode. Raises ValueError for what is no hash."""
    kind, cost, blocks, parallel, salt, key = known.split("$")
    numbers = int(cost), int(blocks), int(parallel)
    if kind != "scrypt" or numbers[0] * numbers[1] > DEAREST * BLOCKS:
        raise ValueError("This is no hash of a passcode.")
    return hmac.compare_digest(_key(passcode, bytes.fromhex(salt), *numbers), bytes.fromhex(key))


def _written(salt: bytes, key: bytes) -> str:
    return f"scrypt${COST}${BLOCKS}${PARALLEL}${salt.hex()}${key.hex()}"


def _key(passcode: bytes, salt: bytes, cost: int, blocks: int, parallel: int) -> bytes:
    memory = 132 * cost * blocks * parallel + (1 << 20)
    return hashlib.scrypt(passcode, salt=salt, n=cost, r=blocks, p=parallel, maxmem=memory, dklen=KEY_BYTES)
