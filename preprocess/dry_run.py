"""The output of --dry-run: what would be read."""

from collections import Counter
from collections.abc import Sequence

from pianogen.command import counted
from preprocess.inputs import Input
from preprocess.sources import in_one_line
from preprocess.unread import Unread, describe, suffix_of

_MAX_NAMES = 10
_MAX_ARCHIVES = 8


def describe_inputs(inputs: Sequence[Input], unread: Unread) -> str:
    """Counts and sizes of the inputs, the archives that contain them, the files that are not read, and the first names."""
    num_bytes = sum(max(0, source.size) for source in inputs)
    lines = [
        f"{counted(len(inputs), 'input')} of {counted(num_bytes, 'byte')}; nothing was converted or written (--dry-run)",
        f"  suffixes    {describe(Counter(suffix_of(source.name) for source in inputs))}",
        *_describe_archives(inputs),
        *(f"  not inputs  {line}" for line in unread.lines()),
        *(f"  name        {in_one_line(source.name)}" for source in inputs[:_MAX_NAMES]),
    ]
    if len(inputs) > _MAX_NAMES:
        lines.append(f"              and {len(inputs) - _MAX_NAMES:,} more")
    return "\n".join(lines)


def _describe_archives(inputs: Sequence[Input]) -> list[str]:
    counts = Counter(source.path for source in inputs if source.member is not None)
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lines = [f"  archive     {in_one_line(path)}: {counted(count, 'input')}" for path, count in largest[:_MAX_ARCHIVES]]
    if rest := largest[_MAX_ARCHIVES:]:
        lines.append(
            f"              {counted(sum(count for _, count in rest), 'input')} in {counted(len(rest), 'other archive')}"
        )
    return lines
