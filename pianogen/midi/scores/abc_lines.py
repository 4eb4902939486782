"""The lines of an ABC file: its tunes, without blocks and free text.

Source: the ABC standard 2.1, https://abcnotation.com/wiki/abc:standard:v2.1.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from pianogen.midi.scores.errors import ScoreError

# "C:|" is music: a note and a repeat sign.
FIELD = re.compile(r"([A-Za-z+]):(?![|:])(.*)")
# What may contain words although it is music, or beside music: text, decorations, inline fields and comments.
_NO_WORDS = re.compile(r'"[^"]*"|![^!|]*!|\+[A-Za-z0-9.]*\+|\[[A-Za-z]:[^\]]*\]|%.*')
# Three or more letters, of which one is neither a note, rest or spacer nor a usual decoration.
_WORD = re.compile(r"(?=[A-Za-z]*[h-twIKNQVW])[A-Za-z]{3,}")
_BLOCK = re.compile(r"%%begin(\w+)")  # text, PostScript and the like, up to %%end and the same word


def split_tunes(text: str) -> list[list[tuple[int, str]]]:
    """The numbered lines of each tune, which begins with X: or with another header, after those of the file's header."""
    header: list[tuple[int, str]] = []
    tunes: list[list[tuple[int, str]]] = [[]]
    lines = list(_without_blocks(text.split("\n")))
    for index, (number, line) in enumerate(lines):
        if line.startswith("X:") or (_is_header_without_number(lines, index) and _has_key(tunes[-1])):
            tunes.append([])
        tunes[-1].append((number, line))
    if len(tunes) > 1 and not _has_key(tunes[0]):
        header = [(number, line) for number, line in tunes[0] if FIELD.match(line) or line.startswith("%%")]
        tunes = tunes[1:]
    return [_without_free_text(header + tune) for tune in tunes if any(FIELD.match(line) for _, line in tune)]


def _has_key(lines: Sequence[tuple[int, str]]) -> bool:
    return any(line.startswith("K:") for _, line in lines)


def _is_header_without_number(lines: Sequence[tuple[int, str]], index: int) -> bool:
    """Whether a tune without X: begins here: with a title after an empty line, and further fields up to its key."""
    if not lines[index][1].startswith("T:") or index == 0 or lines[index - 1][1].strip():
        return False
    following = (line for _, line in itertools.islice(lines, index, None) if not line.startswith("%"))
    return any(line.startswith("K:") for line in itertools.takewhile(FIELD.match, following))


def _without_blocks(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The numbered lines of a file without the blocks %%begintext ... %%endtext and their like.

    Raises:
        ScoreError: a block has no end.
    """
    end = ""
    for number, line in enumerate(lines, 1):
        if end:
            end = "" if line.startswith(end) else end
        elif block := _BLOCK.match(line):
            end = f"%%end{block[1]}"
        else:
            yield number, line
    if end:
        raise ScoreError(f"a block has no {end}; add this line after the block")


def _without_free_text(lines: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """The lines of a tune without free text.

    These are lines before K: with neither a bar line nor a field, such as further lines of a history (H:), and after an empty
    line lines with words, and blocks with neither a bar line nor a field.
    """
    keys = [index for index, (_, line) in enumerate(lines) if line.startswith("K:")]
    num_header = keys[0] if keys else 0
    lines = [
        (number, line)
        for index, (number, line) in enumerate(lines)
        if index >= num_header or not line.strip() or "|" in line or line.startswith("%") or FIELD.match(line)
    ]
    symbols = "".join(line[2:].strip()[:1] for _, line in lines if line.startswith("U:"))
    blocks: list[list[tuple[int, str]]] = [[]]
    for number, line in lines:
        if not line.strip():
            blocks += [[]] if blocks[-1] else []
        elif len(blocks) == 1 or not _has_words(line, symbols):
            blocks[-1].append((number, line))
    is_music = [any("|" in line or FIELD.match(line) for _, line in block) for block in blocks]
    return [line for index, block in enumerate(blocks) if index == 0 or is_music[index] for line in block]


def _has_words(line: str, symbols: str) -> bool:
    """Whether a line without a field contains words. The letters `symbols` stand for decorations (U:)."""
    text = _NO_WORDS.sub(" ", line).translate(dict.fromkeys(map(ord, symbols)))
    return FIELD.match(line) is None and _WORD.search(text) is not None
