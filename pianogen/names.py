"""Names of files, members of archives and groups: the form in which they are compared, and the limit of their length."""

import hashlib
import unicodedata

MAX_BYTES = 255  # the limit of most file systems
_DIGEST_LENGTH = 16


def comparable(name: str) -> str:
    """The form in which names are compared, Unicode NFC: macOS and Linux encode one name differently."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def shortened(name: str, max_bytes: int) -> str:
    """A name of at most `max_bytes` bytes: a longer one is cut, and ends with a hash of the complete name."""
    data = name.encode(errors="surrogateescape")
    return name if len(data) <= max_bytes else with_hash(name, data, max_bytes)


def with_hash(name: str, identity: bytes, max_bytes: int) -> str:
    """A name that ends with a hash of bytes that identify it, and is cut to `max_bytes` bytes."""
    start = name.encode(errors="surrogateescape")[: max_bytes - _DIGEST_LENGTH - 1].decode(errors="ignore")
    return f"{start}-{hashlib.sha256(identity).hexdigest()[:_DIGEST_LENGTH]}"
