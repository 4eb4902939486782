"""The form in which names of files, members of archives and groups are compared."""

import unicodedata


def comparable(name: str) -> str:
    """The form in which names are compared, Unicode NFC: macOS and Linux encode one name differently."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)
