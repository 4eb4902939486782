"""The command `pianogen`: every command of this package under one name.

pianogen sweep status runs/quick
"""

import importlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from pianogen import command
from pianogen.command import Parser, Subcommand
from pianogen.errors import UsageError

# The modules are imported when they are called: --help takes 0.1 s.
_COMMANDS = {
    "preprocess": ("preprocess.__main__", "convert a corpus of MIDI files and scores to a store of piano rolls"),
    "store": ("pianogen.store.__main__", "describe or verify a store"),
    "sweep": ("jobs.sweep", "train models on a store: submit, status, resubmit, promote, cancel, logs, options"),
    "sample": ("jobs.sample", "draw more samples from trained runs"),
    "decode": ("jobs.decode", "write samples, or the rolls of a store, as MIDI files and plots"),
    "collect": ("jobs.collect", "collect the samples of a sweep, and write a report and a listening test"),
    "listening-results": ("jobs.listening_results", "evaluate the answers to a listening test"),
}
_FOLDERS = ("sweeps", "slurm")


def main() -> int:
    """The command `pianogen`."""
    return command.run(_main)


def _main(arguments: Sequence[str]) -> int:
    subcommands = {name: _subcommand(*entry) for name, entry in _COMMANDS.items()}
    subcommands["init"] = Subcommand("copy the sweep files and the batch scripts that ship with this package to a folder", _init)
    return command.run_subcommand(
        "pianogen", "Piano music from MIDI with recurrent models, on a cluster.", subcommands, arguments
    )


def _subcommand(module: str, summary: str) -> Subcommand:
    def run(arguments: Sequence[str]) -> int:
        code: int = importlib.import_module(module).main(arguments)
        return code

    return Subcommand(summary, run)


def _init(arguments: Sequence[str]) -> int:
    parser = Parser(
        prog="pianogen init",
        description="Copy the sweep files (sweeps/) and the batch scripts (slurm/) that ship with this package to a folder.",
        epilog="example:\n  pianogen init experiments",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder, or one without sweeps/ and slurm/")
    folder = parser.parse(arguments).folder
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; nothing was copied: give another folder, or move it away")
    if existing := [folder / name for name in _FOLDERS if os.path.lexists(folder / name)]:
        raise UsageError(f"{existing[0]} exists; nothing was copied: give another folder, or move it away")
    for name in _FOLDERS:
        shutil.copytree(_shipped(name), folder / name)
        print(folder / name)
    return 0


def _shipped(name: str) -> Path:
    """A folder of this checkout, or of the installed package (see `data_files` in setup.cfg)."""
    checkout = Path(__file__).parents[1] / name
    return checkout if checkout.is_dir() else Path(sysconfig.get_path("data"), "share", "pianogen", name)


if __name__ == "__main__":
    sys.exit(main())
