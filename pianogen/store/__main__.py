"""The command that describes or verifies a store.

pianogen store info corpus.h5
pianogen store verify corpus.h5
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pianogen import command
from pianogen.command import Parser, Subcommand, counted
from pianogen.names import comparable
from pianogen.store import Split, Store

_PROG = "pianogen store"
_MAX_GROUPS = 20


def main(arguments: Sequence[str]) -> int:
    """The command `pianogen store`."""
    subcommands = {
        "info": Subcommand("describe a store", _info),
        "verify": Subcommand("read every row of a store, and compare all checksums", _verify),
    }
    return command.run_subcommand(_PROG, "Describe or verify a store.", subcommands, arguments)


def _info(arguments: Sequence[str]) -> int:
    with Store(_parse("info", "Describe a store.", arguments)) as store:
        print(_describe(store))
    return 0


def _verify(arguments: Sequence[str]) -> int:
    with Store(_parse("verify", "Read every row of a store, and compare all checksums.", arguments)) as store:
        store.verify()
        print(f"{store.path} is valid: {counted(len(store), 'piece')}, {counted(store.num_steps, 'step')}; all checksums match")
    return 0


def _parse(name: str, description: str, arguments: Sequence[str]) -> Path:
    """The path of the store."""
    parser = Parser(f"{_PROG} {name}", description, f"example:\n  {_PROG} {name} corpus.h5")
    parser.add_argument("store", type=Path, help="the HDF5 file that preprocessing or sampling has written")
    path: Path = parser.parse(arguments).store
    return path


def _describe(store: Store) -> str:
    pieces = store.pieces
    num_pieces = {split: int((pieces.split == split).sum()) for split in Split}
    splits = ", ".join(f"{split.name.lower()} {number}" for split, number in num_pieces.items() if number)
    provenance = dict(store.provenance)
    near_duplicates = provenance.pop("near_duplicates", None)
    rows = {
        "store": str(store.path),
        "kind": store.kind,
        "pieces": f"{len(pieces):,} ({splits})",
        "groups": _describe_groups(pieces.group),
        "steps": f"{store.num_steps:,}, {store.steps_per_quarter} per quarter note",
        "notes": f"{int(pieces.notes.sum(dtype=np.int64)):,}",
        **({"near-duplicates": _describe_near_duplicates(**near_duplicates)} if near_duplicates else {}),
        "fingerprint": store.fingerprint,
        **{f"provenance: {key}": str(value) for key, value in provenance.items()},
    }
    width = max(map(len, rows))
    return "\n".join(f"{key:<{width}}  {value}" for key, value in rows.items())


def _describe_groups(groups: Sequence[str]) -> str:
    """The number of groups and their names, which data.groups of a sweep may list, and the pieces in none."""
    names = sorted(set(map(comparable, groups)) - {""})
    shown = [name if name.isprintable() else ascii(name) for name in names[:_MAX_GROUPS]]
    listed = f" ({', '.join([*shown, *['…'] * (len(names) > _MAX_GROUPS)])})" if names else ""
    without = f"; {counted(num_without, 'piece')} in none" if (num_without := groups.count("")) else ""
    return f"{len(names):,}{listed}{without}"


def _describe_near_duplicates(rule: str, found: int, across_splits: int) -> str:
    dropped = "dropped from a similarity of 0.8 on" if rule == "drop" else "kept"
    return f"{dropped}; {found:,} pieces resemble an earlier one, {across_splits:,} of them in another split"


if __name__ == "__main__":
    sys.exit(command.run(main))
