"""Converts a corpus of MIDI files and scores to one store of piano rolls.

    mpiexec -n 4 python -m mpi4py -m preprocess midis/ --store corpus.h5

Every rank starts its host process (before MPI, which does not survive a fork), initializes MPI, and converts chunks of inputs;
rank 0 then merges the shards into the store. Expected for 1,024 ranks and 2 million files:

    scan     rank 0, one stat and 7 µs per file: 14 s on a local disk, the time of the stat calls on a shared one
    convert  all ranks, chunks on request; rank 0 reads 280,000 records of growing shards a second
    merge    rank 0, which has read the records by then: 18 s to find near-duplicates, then the speed of the disk

Rank 0 needs less than 1 GB of memory: 0.2 GB for the inputs, 0.5 GB for their pieces, and 0.15 GB to compare these.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

import pianogen
from pianogen import atomic, command
from pianogen.errors import UsageError
from pianogen.midi.options import ReadOptions
from pianogen.progress import Progress
from pianogen.store import check_replaceable
from preprocess import ledger
from preprocess.archives import SUFFIXES
from preprocess.dispatch import dispatch, run_worker_rank, shut_down
from preprocess.dry_run import describe_inputs
from preprocess.host import ChunkResult
from preprocess.inputs import Inputs
from preprocess.isolation import Isolation
from preprocess.merge import MergeOptions, merge
from preprocess.metadata import Columns, Metadata, parse_columns, read_metadata
from preprocess.read_options import add_read_options, provenance_of, read_options
from preprocess.shard_reader import ShardReader
from preprocess.sources import scan
from preprocess.summary import describe_result
from preprocess.unread import Unread
from preprocess.work_folder import WorkFolder
from preprocess.worker import Limits
from preprocess.world import World, batch_job, find_world

_MAX_CPU_S = 24 * 3_600
_WALL_PER_CPU = 10  # generous, because an input that computes on a busy node progresses slowly
NearDuplicates = Literal["keep", "drop"]
_log = logging.getLogger("preprocess")


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments of the command.

    Attributes:
        corpora: folders, files, archives, or music21:NAME.
        store: the HDF5 file to write.
        options: the options of the conversion.
        cpu_limit_s: CPU time that one input may take.
        metadata: a CSV file with groups and splits; None takes folders and splits by hash.
        metadata_columns: its columns that are not recognized by their names.
        near_duplicates: whether near-duplicates are kept or dropped.
        max_rejects: the largest allowed share of rejected pieces.
        dry_run: print what would be read, and write nothing.
    """

    corpora: list[str]
    store: Path
    options: ReadOptions
    cpu_limit_s: int
    metadata: Path | None
    metadata_columns: Columns
    near_duplicates: NearDuplicates
    max_rejects: Fraction
    dry_run: bool

    @property
    def ledger(self) -> Path:
        """The ledger of the store."""
        return self.store.with_suffix(".ledger.csv")


def main(arguments: Sequence[str]) -> int:
    """The command `pianogen preprocess`, run by every rank."""
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
    check_replaceable(settings.store)
    ledger.check_replaceable(settings.ledger)
    unread = Unread()
    if settings.dry_run:
        inputs = scan(settings.corpora, None, unread)
        _read_metadata(settings, inputs)
        print(describe_inputs(inputs, unread), flush=True)
        return 0
    with work_folder.locked(settings.store, batch_job()):
        atomic.remove_leftovers(settings.store)
        atomic.remove_leftovers(settings.ledger)
        inputs = scan(settings.corpora, work_folder.path, unread)
        metadata = _read_metadata(settings, inputs)
        reader = work_folder.prepare(inputs, settings.options)
        _log.info("%s, %s", command.counted(len(inputs), "input"), command.counted(world.size, "rank"))
        for line in unread.lines():
            _log.info("not inputs: %s", line)
        begin = time.perf_counter()
        _convert(inputs, reader, world, isolation)
        converted = time.perf_counter()
        reader.wait_for_all()
        options = MergeOptions(
            metadata, settings.near_duplicates == "drop", settings.max_rejects, settings.options.steps_per_quarter
        )
        provenance = _make_provenance(settings, metadata)
        result = merge(reader.table, reader.paths, settings.store, settings.ledger, options, provenance)
        _log.debug("timing: %s", json.dumps({"convert_s": converted - begin, "merge_s": time.perf_counter() - converted}))
        work_folder.remove_shards()
    print(describe_result(result, len(inputs), unread, settings.store, settings.ledger), flush=True)
    return 0


def _read_metadata(settings: Settings, inputs: Inputs) -> Metadata | None:
    if settings.metadata is None:
        return None
    return read_metadata(settings.metadata, settings.metadata_columns, inputs.names)


def _convert(inputs: Inputs, reader: ShardReader, world: World, isolation: Isolation) -> None:
    unfinished = inputs.in_reading_order(np.flatnonzero(~reader.table.final_inputs()))
    num_rejected = 0
    with Progress("preprocess", len(unfinished), "inputs") as progress:

        def report(result: ChunkResult) -> None:
            nonlocal num_rejected
            num_rejected += result.num_rejected
            progress.advance(result.num_inputs, f"{num_rejected} rejected")
            reader.read(result.shard, result.shard_bytes)  # now, so that the merge does not wait for it

        dispatch(world, isolation, unfinished, report)


def _make_provenance(settings: Settings, metadata: Metadata | None) -> dict[str, Any]:
    """The options that determine the content of the store, besides the inputs."""
    provenance: dict[str, Any] = {
        "version": pianogen.__version__,
        **provenance_of(settings.options),
        "split": "metadata" if metadata and metadata.has_splits else "hash",
    }
    if metadata is not None:
        provenance["metadata"] = metadata.sha256
    return provenance


def _parser() -> command.Parser:
    parser = command.Parser(
        prog="pianogen preprocess",
        description="Convert a corpus of MIDI files and scores to one store of piano rolls and a ledger of every input.\n"
        "After an interruption the same command resumes, with any number of ranks, and writes the same bytes.",
        epilog="examples:\n"
        "  pianogen preprocess midis/ --store corpus.h5\n"
        "  mpiexec -n 4 python -m mpi4py -m preprocess midis/ music21:bach --store corpus.h5\n"
        "  pianogen preprocess midis.tar.gz --store corpus.h5 --dry-run",
    )
    parser.add_argument(
        "corpus",
        nargs="+",
        metavar="CORPUS",
        help=f"a folder, a file, an archive ({' '.join(SUFFIXES)}), or music21:NAME (e.g. music21:bach)",
    )
    parser.add_argument("--store", type=Path, required=True, help="the HDF5 file to write; the ledger is written beside it")
    parser.add_argument(
        *("--metadata", "--split-file"),
        type=Path,
        metavar="CSV",
        help="a CSV file with the group and split of each piece, such as that of MAESTRO or ASAP; if it has a column split, "
        "pieces that it does not list get no split",
    )
    parser.add_argument(
        "--metadata-columns",
        type=_columns,
        default={},
        metavar="ROLE=COLUMN,...",
        help="columns of --metadata that have other names, e.g. name=path,group=artist,split=subset",
    )
    parser.add_argument(
        "--near-duplicates",
        choices=get_args(NearDuplicates),
        default="keep",
        help="drop keeps the first of the pieces whose estimated similarity is 0.8 or more (default: keep)",
    )
    parser.add_argument(
        "--max-rejects",
        type=_share,
        default=Fraction(1, 10),
        metavar="SHARE",
        help="write no store if a larger share of the pieces is rejected (default: 0.1)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be read; convert and write nothing")
    parser.add_argument(
        "--cpu-limit-s", type=_seconds, default=60, metavar="S", help="CPU time limit of one input in seconds (default: 60)"
    )
    add_read_options(parser)
    return parser


def _parse(arguments: Sequence[str]) -> Settings:
    parser = _parser()
    options = parser.parse(arguments)
    if options.store.name in ("", "..") or options.store.is_dir():
        raise UsageError(f"--store {str(options.store)!r} is a folder; give the path of a file, such as corpus.h5")
    if options.metadata_columns and options.metadata is None:
        raise UsageError("--metadata-columns applies to --metadata only; give the CSV file with --metadata")
    return Settings(
        options.corpus,
        options.store.resolve() if options.store.is_symlink() else options.store,  # a rename would replace the link
        read_options(options),
        options.cpu_limit_s,
        options.metadata,
        options.metadata_columns,
        options.near_duplicates,
        options.max_rejects,
        options.dry_run,
    )


def _columns(text: str) -> Columns:
    try:
        return parse_columns(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _share(text: str) -> Fraction:
    """The exact share: 0.58 of 50 is 29, and as a floating-point number less."""
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        value = Fraction(-1)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return value


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_CPU_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds from 1 to {_MAX_CPU_S}")
    return int(text)


if __name__ == "__main__":
    sys.exit(command.run(main))
