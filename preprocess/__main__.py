"""Converts a corpus of MIDI files and scores to one store of piano rolls.

    mpiexec -n 4 python -m mpi4py -m preprocess midis/ --store corpus.h5

Every rank starts its host process (before MPI, which does not survive a fork), initializes MPI, and converts chunks of inputs;
rank 0 then merges the shards into the store. Expected for 1,024 ranks and 2 million files:

    scan     rank 0, one stat and 5-8 µs per file: 10-20 s on a local disk, the time of the stat calls on a shared one
    convert  all ranks, chunks on request; rank 0 dispatches a million inputs and reads 70,000 entries of growing shards a second
    merge    rank 0, which has read the entries by then (1 kB of memory each): about 500 MB/s, or the speed of the disk
"""

import argparse
import gc
import hashlib
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pianogen
from pianogen import command
from pianogen.errors import UsageError
from pianogen.midi.options import ReadOptions
from pianogen.progress import Progress
from pianogen.store import Split
from preprocess.dispatch import dispatch, run_worker_rank, shut_down
from preprocess.host import ChunkResult
from preprocess.isolation import Isolation
from preprocess.merge import MergeResult, merge
from preprocess.read_options import add_read_options, provenance_of, read_options
from preprocess.sources import Input, scan
from preprocess.split_file import read_split_file
from preprocess.work_folder import WorkFolder
from preprocess.worker import Limits
from preprocess.world import World, batch_job, find_world

_MAX_CPU_S = 24 * 3_600
_WALL_PER_CPU = 10  # generous, because an input that computes on a busy node progresses slowly
_log = logging.getLogger("preprocess")


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments of the command.

    Attributes:
        corpora: folders, files, archives, or music21:NAME.
        store: the HDF5 file to write.
        options: the options of the conversion.
        cpu_limit_s: CPU time that one input may take.
        split_file: a CSV file that assigns pieces to splits; None splits by hash.
        max_rejects: the largest allowed share of rejected inputs.
    """

    corpora: list[str]
    store: Path
    options: ReadOptions
    cpu_limit_s: int
    split_file: Path | None
    max_rejects: float

    @property
    def ledger(self) -> Path:
        """The ledger of the store."""
        return self.store.with_suffix(".ledger.csv")


def main(arguments: Sequence[str]) -> int:
    """The command `python -m preprocess`, run by every rank."""
    settings = _parse(arguments)
    work_folder = WorkFolder.of(settings.store)
    limits = Limits(settings.cpu_limit_s, _WALL_PER_CPU * settings.cpu_limit_s)
    isolation = Isolation(work_folder.new_shard(), settings.options, limits)
    world = find_world()
    if world.rank != 0:
        return run_worker_rank(world, isolation)
    exit_code = command.run(lambda _: _run_rank_0(settings, work_folder, world, isolation), arguments)
    shut_down(world, exit_code)
    return exit_code


def _run_rank_0(settings: Settings, work_folder: WorkFolder, world: World, isolation: Isolation) -> int:
    if not settings.store.parent.is_dir():
        raise UsageError(f"the folder of --store {settings.store} does not exist; create it first")
    gc.disable()  # several objects per input live until the end, and a garbage collection would search all of them
    with work_folder.locked(settings.store, batch_job()):
        inputs = scan(settings.corpora, work_folder.path)
        splits, split_rule = _read_splits(settings.split_file, inputs)
        unfinished = work_folder.prepare(inputs, settings.options)
        _log.info("%s inputs, %s %s", len(inputs), world.size, "rank" if world.size == 1 else "ranks")
        begin = time.perf_counter()
        _convert(unfinished, work_folder, world, isolation)
        converted = time.perf_counter()
        provenance = {
            "version": pianogen.__version__,
            **provenance_of(settings.options),
            "split": split_rule,
        }
        entries = work_folder.collect_entries(inputs)
        result = merge(
            *(entries, settings.store, settings.ledger, splits, settings.max_rejects),
            steps_per_quarter=settings.options.steps_per_quarter,
            provenance=provenance,
        )
        _log.debug("timing: %s", json.dumps({"convert_s": converted - begin, "merge_s": time.perf_counter() - converted}))
        work_folder.remove_shards()
    print(_summary(result, len(inputs), settings), flush=True)
    return 0


def _convert(inputs: Sequence[Input], work_folder: WorkFolder, world: World, isolation: Isolation) -> None:
    num_rejected = 0
    with Progress("preprocess", len(inputs), "inputs") as progress:

        def report(result: ChunkResult) -> None:
            nonlocal num_rejected
            num_rejected += result.num_rejected
            progress.advance(result.num_inputs, f"{num_rejected} rejected")
            work_folder.read_shard(result.shard, result.shard_bytes)  # now, so that the merge does not wait for it

        dispatch(world, isolation, inputs, report)


def _read_splits(path: Path | None, inputs: Sequence[Input]) -> tuple[dict[str, Split] | None, str]:
    """The splits of a split file, and the entry `split` of the provenance."""
    if path is None:
        return None, "hash"
    splits = read_split_file(path, [source.name for source in inputs])
    return splits, hashlib.sha256(path.read_bytes()).hexdigest()


def _summary(result: MergeResult, num_inputs: int, settings: Settings) -> str:
    counts, num_rejected = result.counts, result.rejected.total()
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(result.rejected.items())) or "none"
    kinds = f"{result.num_kept:,} kept, {result.num_duplicates:,} duplicates, {num_rejected:,} rejected"
    return "\n".join(
        [
            f"{num_inputs:,} inputs: {kinds}",
            f"  rejected    {reasons}",
            f"  steps       {result.num_steps:,}",
            f"  notes       {counts.notes:,} kept",
            f"              {counts.notes_merged:,} merged with another onset of the same key and step",
            f"              {counts.notes_out_of_range:,} outside the 88 keys, {counts.notes_drum:,} drum notes, "
            f"{counts.notes_program:,} of other programs",
            f"              {counts.notes_lost:,} lost, such as those after an end-of-track",
            f"              {counts.notes_unreleased:,} without a note-off, ended at their last event",
            f"  tempo       {counts.tempo_kept:,} of {counts.tempo_seen:,} changes are in force at a step",
            f"  store       {settings.store}",
            f"  ledger      {settings.ledger}",
        ]
    )


def _parse(arguments: Sequence[str]) -> Settings:
    parser = command.Parser(
        prog="python -m preprocess",
        description="Convert a corpus of MIDI files and scores to one store of piano rolls and a ledger of every input.\n"
        "After an interruption the same command resumes, with any number of ranks, and writes the same bytes.",
        epilog="examples:\n"
        "  python -m preprocess midis/ --store corpus.h5\n"
        "  mpiexec -n 4 python -m mpi4py -m preprocess midis/ music21:bach --store corpus.h5",
    )
    parser.add_argument(
        "corpus",
        nargs="+",
        metavar="CORPUS",
        help="a folder, a file, a .zip, .tar or .tar.gz archive, or music21:NAME (e.g. music21:bach)",
    )
    parser.add_argument("--store", type=Path, required=True, help="the HDF5 file to write; the ledger is written beside it")
    parser.add_argument(
        "--split-file", type=Path, metavar="CSV", help="columns name and split; pieces that are not listed get no split"
    )
    parser.add_argument(
        "--max-rejects",
        type=_share,
        default=0.1,
        metavar="SHARE",
        help="write no store if a larger share of the inputs is rejected (default: 0.1)",
    )
    parser.add_argument("--cpu-limit-s", type=_seconds, default=60, metavar="S", help="CPU time limit of one input (default: 60)")
    add_read_options(parser)
    options = parser.parse(arguments)
    if options.store.name in ("", "..") or options.store.is_dir():
        parser.error(f"--store {str(options.store)!r} is a folder; give the path of a file, such as corpus.h5")
    return Settings(
        options.corpus,
        options.store,
        read_options(parser, options),
        options.cpu_limit_s,
        options.split_file,
        options.max_rejects,
    )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return value


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_CPU_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds from 1 to {_MAX_CPU_S}")
    return int(text)


if __name__ == "__main__":
    sys.exit(command.run(main))
