"""Export of stores: a MIDI file and a plot for every roll, and an index, in a folder or in a ZIP file."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from jobs.export.conversion import convert_pieces, map_pieces
from jobs.export.index import PieceFile, StoreContent, index_text, plot_name
from jobs.export.output_folder import OutputFolder
from pianogen import atomic
from pianogen.errors import PianogenError
from pianogen.progress import Progress
from pianogen.store import Store

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date of the format, so that equal stores give equal bytes
_REGULAR_FILE_MODE = 0o100644 << 16


def write_folder(paths: Sequence[Path], out: OutputFolder, max_processes: int) -> None:
    """Exports stores to a folder, with one index of all; complete files in the folder are kept.

    Raises:
        StoreError: a store cannot be read.
        UsageError: a file of the user is in the way.
        PianogenError: file names conflict, or a process was killed.
        OSError: a file cannot be written.
    """
    stores = [_read_content(path) for path in paths]
    files = {"index.csv": ""}
    for content in stores:
        for piece in content.pieces:
            files[piece.name] = files[plot_name(piece.name)] = content.path.name
    out.begin({content.path.name: content.fingerprint for content in stores}, files)
    for content in stores:
        missing = [piece for piece in content.pieces if not _has_files(out.path / piece.name)]
        with Progress(f"{content.path.name} to {out.path}", len(missing), "pieces") as progress:
            for num_written in map_pieces(partial(_write_pieces, content.path, out.path), missing, max_processes):
                progress.advance(num_written)
    atomic.write_text(out.path / "index.csv", index_text([row for content in stores for row in content.rows]))


def write_archive(path: Path, target: Path, max_processes: int) -> None:
    """Exports a store to a ZIP file, unless it exists; equal stores give equal bytes.

    Raises:
        StoreError: the store cannot be read.
        PianogenError: file names conflict, the existing file is damaged or of another store, or a process was killed.
        OSError: the file cannot be written.
    """
    content = _read_content(path)
    if target.exists():
        _check_fingerprint(target, path.name, content.fingerprint, _read_comment(target))
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    pieces = sorted(content.pieces, key=lambda piece: piece.name)
    with atomic.replacing(target) as temporary, ZipFile(temporary, "w") as archive:
        archive.comment = content.fingerprint.encode()
        _add_member(archive, "index.csv", index_text(content.rows).encode(), ZIP_DEFLATED)
        with Progress(f"{path.name} to {target}", len(pieces), "pieces") as progress:
            for converted in map_pieces(partial(convert_pieces, path), pieces, max_processes):
                for piece in converted:
                    _add_member(archive, piece.name, piece.midi, ZIP_DEFLATED)
                    _add_member(archive, plot_name(piece.name), piece.plot, ZIP_STORED)  # PNG is compressed
                progress.advance(len(converted))


def _read_content(path: Path) -> StoreContent:
    with Store(path) as store:
        return StoreContent.of(store)


def _check_fingerprint(place: Path, store: str, expected: str, recorded: str) -> None:
    if recorded != expected:
        raise PianogenError(
            f"{place} was exported from another version of {store}: fingerprint {recorded[:12]}, expected {expected[:12]}; "
            "remove it and decode again, or choose another --out"
        )


def _read_comment(path: Path) -> str:
    try:
        with ZipFile(path) as archive:
            return archive.comment.decode(errors="replace")
    except BadZipFile as error:
        raise PianogenError(f"{path} is damaged ({error}); remove it and decode again") from error


def _has_files(midi: Path) -> bool:
    return midi.exists() and midi.with_name(plot_name(midi.name)).exists()


def _write_pieces(store_path: Path, out: Path, pieces: Sequence[PieceFile]) -> int:
    for piece in convert_pieces(store_path, pieces):
        midi = out / piece.name
        midi.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(midi.with_name(plot_name(midi.name)), piece.plot)
        atomic.write_bytes(midi, piece.midi)
    return len(pieces)


def _add_member(archive: ZipFile, name: str, content: bytes, compression: int) -> None:
    member = ZipInfo(name, _ZIP_DATE)
    member.external_attr = _REGULAR_FILE_MODE
    archive.writestr(member, content, compression)
