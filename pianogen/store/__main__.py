"""The command that describes or verifies a store.

python -m pianogen.store info corpus.h5
python -m pianogen.store verify corpus.h5
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pianogen import command
from pianogen.store import Split, Store


def main(arguments: Sequence[str]) -> int:
    """The command `python -m pianogen.store`."""
    parser = command.Parser(
        prog="python -m pianogen.store",
        description="Describe a store, or verify all of its checksums.",
        epilog="example:\n  python -m pianogen.store verify corpus.h5",
    )
    parser.add_argument("action", choices=["info", "verify"], help="info prints a table; verify reads and checks every row")
    parser.add_argument("store", type=Path, help="the HDF5 file that preprocessing or sampling has written")
    options = parser.parse(arguments)
    with Store(options.store) as store:
        if options.action == "verify":
            store.verify()
            print(f"{store.path} is valid: {len(store.pieces):,} pieces, {store.num_steps:,} steps; all checksums match")
        else:
            print(_describe(store))
    return 0


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
        "groups": f"{len(set(pieces.group)):,}",
        "steps": f"{store.num_steps:,}, {store.steps_per_quarter} per quarter note",
        "notes": f"{int(pieces.notes.sum(dtype=np.int64)):,}",
        **({"near-duplicates": _describe_near_duplicates(**near_duplicates)} if near_duplicates else {}),
        "fingerprint": store.fingerprint,
        **{f"made by: {key}": str(value) for key, value in provenance.items()},
    }
    width = max(map(len, rows))
    return "\n".join(f"{key:<{width}}  {value}" for key, value in rows.items())


def _describe_near_duplicates(rule: str, found: int, across_splits: int) -> str:
    dropped = "dropped from a similarity of 0.8 on" if rule == "drop" else "kept"
    return f"{dropped}; {found:,} pieces resemble an earlier one, {across_splits:,} of them in another split"


if __name__ == "__main__":
    sys.exit(command.run(main))
