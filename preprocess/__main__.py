"""A corpus of MIDI files and scores to one store of piano rolls.

    mpiexec -n 4 python -m mpi4py -m preprocess midis/ --store corpus.h5

A rank's way: start the child that converts (before MPI, which does not survive a fork), find the other ranks, share the
inputs; rank 0 then merges the shards into the store. How that goes on to 1,024 ranks and 2 million files:

    scan    rank 0 alone, a stat and 5-8 µs a file: 10-20 s on a local disk, on a shared one what it takes for the stats
    parse   all ranks, chunks on request; rank 0 hands out a million inputs a second and reads 70,000 entries of growing shards
    merge   rank 0 alone, which knows the entries by then (1 kB of memory each): some 500 MB a second, or what the disk allows
"""

import argparse
import gc
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pianogen
from pianogen import command
from pianogen.errors import UsageError
from pianogen.midi.reader import MidiParser
from pianogen.progress import Progress
from pianogen.store import Split
from preprocess import ranks, sources
from preprocess.isolation import Isolation, Limits, Tally
from preprocess.merge import Merged, merge, read_split_file
from preprocess.outcome import Options
from preprocess.ranks import World
from preprocess.sources import Input
from preprocess.work_folder import Job

_MOST_CPU_S = 24 * 3_600


def main(arguments: Sequence[str]) -> int:
    """The command `python -m preprocess`, run by every rank."""
    options = _parse(arguments)
    job = Job.beside(options.store)
    isolation = Isolation(job.new_shard(), Options(options.parser, options.keep_rests), Limits(options.cpu_limit_s))
    world = ranks.find_world()
    if world.rank != 0:
        return ranks.follow(world, isolation)
    code = command.run(lambda _: _lead(options, job, world, isolation), arguments)
    ranks.dismiss(world, code)
    return code


def _lead(options: argparse.Namespace, job: Job, world: World, isolation: Isolation) -> int:
    if not options.store.parent.is_dir():
        raise UsageError(f"the folder of --store {options.store} does not exist; create it first")
    gc.disable()  # there are several objects for each input, all live to the end, and looking through them takes a while
    with job.locked(options.store, ranks.batch_job()):
        inputs = sources.scan(options.corpus, job.folder)
        splits, split_rule = _read_splits(options.split_file, inputs)
        todo = job.begin(inputs, Options(options.parser, options.keep_rests))
        print(f"{len(inputs)} inputs, {world.size} {'rank' if world.size == 1 else 'ranks'}", file=sys.stderr, flush=True)
        _convert(todo, job, world, isolation)
        provenance: dict[str, Any] = {
            "version": pianogen.__version__,
            "parser": options.parser,
            "keep_rests": options.keep_rests,
            "split": split_rule,
        }
        ledger = options.store.with_suffix(".ledger.csv")
        merged = merge(job.finished(inputs), options.store, ledger, splits, options.max_rejects, provenance)
        job.end()
    print(_summary(merged, len(inputs), options.store, ledger), flush=True)
    return 0


def _convert(todo: Sequence[Input], job: Job, world: World, isolation: Isolation) -> None:
    num_rejected = 0
    with Progress("preprocess", len(todo), "inputs") as progress:

        def report(tally: Tally) -> None:
            nonlocal num_rejected
            num_rejected += tally.num_rejected
            progress.advance(tally.num_inputs, f"{num_rejected} rejected")
            job.read_shard(tally.shard, tally.size)  # now rather than at the end, when the other ranks would wait for it

        ranks.lead(world, isolation, todo, report)


def _read_splits(path: Path | None, inputs: Sequence[Input]) -> tuple[dict[str, Split] | None, str]:
    """The splits of a split file, and what provenance says of them."""
    if path is None:
        return None, "hash"
    splits = read_split_file(path, [each.name for each in inputs])
    return splits, hashlib.sha256(path.read_bytes()).hexdigest()


def _summary(merged: Merged, num_inputs: int, store: Path, ledger: Path) -> str:
    totals, num_rejected = merged.totals, merged.rejected.total()
    rejected = ", ".join(f"{count} {reason}" for reason, count in sorted(merged.rejected.items())) or "none"
    return "\n".join(
        [
            f"{num_inputs:,} inputs: {merged.kept:,} kept, {merged.duplicates:,} duplicates, {num_rejected:,} rejected",
            f"  rejected    {rejected}",
            f"  steps       {totals['steps']:,} sixteenths",
            f"  notes       {totals['notes']:,} kept",
            f"              {totals['notes_merged']:,} fell on a key and step already struck",
            f"              {totals['notes_out_of_range']:,} outside the 88 keys, {totals['notes_drum']:,} drum notes",
            f"              {totals['notes_unreleased']:,} never released, ended at their last event",
            f"  tempo       {totals['tempo_kept']:,} of {totals['tempo_seen']:,} changes are heard at a sixteenth",
            f"  store       {store}",
            f"  ledger      {ledger}",
        ]
    )


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = command.Parser(
        prog="python -m preprocess",
        description="Turn a corpus of MIDI files and scores into one store of piano rolls and a ledger of every input.\n"
        "Interrupted work is kept: the same command goes on, with any number of ranks, and ends with the same bytes.",
        epilog="examples:\n"
        "  python -m preprocess midis/ --store corpus.h5\n"
        "  mpiexec -n 4 python -m mpi4py -m preprocess midis/ music21:bach --store corpus.h5",
    )
    parser.add_argument(
        "corpus",
        nargs="+",
        metavar="CORPUS",
        help="a folder, a file, a .zip, .tar or .tar.gz, or music21:NAME (e.g. music21:bach)",
    )
    parser.add_argument("--store", type=Path, required=True, help="the HDF5 file to write, a ledger beside it")
    parser.add_argument("--parser", choices=get_args(MidiParser), default="smf", help="who reads MIDI events (default: smf)")
    parser.add_argument("--keep-rests", action="store_true", help="keep the silence before the first and after the last note")
    parser.add_argument("--split-file", type=Path, metavar="CSV", help="columns name, split; a piece not named gets no split")
    parser.add_argument(
        "--max-rejects", type=_share, default=0.1, metavar="SHARE", help="refuse a corpus with more (default: 0.1)"
    )
    parser.add_argument("--cpu-limit-s", type=_seconds, default=60, metavar="S", help="CPU time one input may take (default: 60)")
    options = parser.parse(arguments)
    if options.store.name in ("", "..") or options.store.is_dir():
        parser.error(f"--store {str(options.store)!r} names a folder; name the file to write, such as corpus.h5")
    return options


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return value


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_CPU_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds from 1 to {_MOST_CPU_S}")
    return int(text)


if __name__ == "__main__":
    sys.exit(command.run(main))
