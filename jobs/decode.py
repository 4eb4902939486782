"""Samples, or any store, to MIDI files with a picture of each.

python -m jobs.decode runs/quick
python -m jobs.decode corpus.h5 --out corpus-midi
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import get_args

from jobs import launch, rundir
from pianogen import command, durable
from pianogen.config import SlurmConfig
from pianogen.errors import PianogenError, UsageError
from pianogen.store import Store


def main(arguments: Sequence[str]) -> int:
    """The command `python -m jobs.decode`."""
    parser = command.Parser(
        prog="python -m jobs.decode",
        description="Write a MIDI file and a picture of every roll of a sweep's samples, a run's, or a store's.\n"
        "Files that are there are kept.",
        epilog="examples:\n  python -m jobs.decode runs/quick\n  python -m jobs.decode corpus.h5 --out corpus-midi",
    )
    parser.add_argument("target", type=Path, metavar="runs/NAME|RUN|STORE", help="a sweep, one run, or a store")
    parser.add_argument("--out", type=Path, help="folder (default: midi/ in each run; STORE without suffix + -midi/)")
    parser.add_argument("--cluster", choices=get_args(launch.Cluster), default="local", help="where it runs (default: local)")
    options = parser.parse_args(arguments)
    launch.check(options.cluster)
    stores = _find_stores(options.target, options.out)
    folder = options.target / "jobs" if options.target.is_dir() else options.target.with_suffix(".jobs")
    decode = functools.partial(decode_job, outs={str(store): str(out) for store, out in stores.items()})
    slurm = SlurmConfig(cpus_per_task=1, memory_gb=4)
    launch.launch(options.cluster, decode, [str(store) for store in stores], folder, slurm, "decode")
    for store, out in stores.items():
        print(f"{store} -> {out}")
    return 0


def decode_job(path: str, outs: dict[str, str]) -> None:
    """Writes the files of one store."""
    decode_store(Path(path), Path(outs[path]))


def decode_store(path: Path, out: Path) -> None:
    """Writes NAME.mid and NAME.png of every roll; in a run's folder NAME begins with the store's.

    Raises:
        StoreError: the store cannot be read.
        PianogenError: a piece's name leads out of the folder, or two lead to one file.
    """
    from pianogen import plots
    from pianogen.midi_out import write_midi

    with Store(path) as store:
        names = [_file_name(name, path.stem if store.kind == "samples" else "") for name in store.pieces.name]
        if len(set(names)) < len(names):
            raise PianogenError(f"{path}: two of its pieces would become one MIDI file; rename them in the corpus")
        for index, name in enumerate(names):
            midi = out / name
            picture = midi.with_suffix(".png")
            if midi.exists() and picture.exists():
                continue
            midi.parent.mkdir(parents=True, exist_ok=True)
            roll = store.roll(index)
            plots.draw_roll(roll, name.removesuffix(".mid"), picture)
            durable.write_bytes(midi, write_midi(roll))


def _file_name(name: str, prefix: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise PianogenError(f"the piece {name!r} names a place outside the folder; this store was not made by preprocessing")
    plain = name if path.suffix.lower() == ".mid" else f"{name}.mid"
    return f"{prefix}-{plain}" if prefix else plain


def _find_stores(target: Path, out: Path | None) -> dict[Path, Path]:
    """Each store with the folder its files go to."""
    if target.is_file():
        return {target.resolve(): (out or target.with_name(target.stem + "-midi")).resolve()}
    runs = rundir.open_runs(target)
    found = {
        store.resolve(): (out / run.name if out else run.path / "midi").resolve()
        for run in runs
        for store in sorted(run.path.glob("samples*.h5"))
    }
    if not found:
        raise UsageError(
            f"no run of {target} has samples; see python -m jobs.sweep status, or draw some with python -m jobs.sample"
        )
    return found


if __name__ == "__main__":
    sys.exit(command.run(main))
