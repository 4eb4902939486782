"""Export of stores: a MIDI file, a plot and on request a sound file for every roll, and an index, in a folder or a ZIP file."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from jobs.export.archive import opened_archive
from jobs.export.audio import AudioFormat
from jobs.export.conversion import ConvertedPiece, convert_pieces, map_pieces
from jobs.export.index import PieceFile, StoreContent, index_text, plot_name, sound_name
from jobs.export.output_folder import OutputFolder
from pianogen import atomic
from pianogen.errors import PianogenError
from pianogen.progress import Progress
from pianogen.store import Store

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest date of the format, so that equal stores give equal bytes
_REGULAR_FILE_MODE = 0o100644 << 16


def write_folder(paths: Sequence[Path], out: OutputFolder, max_processes: int, audio_format: AudioFormat | None = None) -> None:
    """Exports stores to a folder, with one index of all; complete files in the folder are kept.

    Args:
        audio_format: of the sound files; None for no sound files.

    Raises:
        StoreError: a store cannot be read.
        UsageError: a file of the user has the name of an output file.
        PianogenError: file names conflict, or a process was killed.
        OSError: a file cannot be written.
    """
    stores = [_read_content(path) for path in paths]
    files = {"index.csv": ""}
    for content in stores:
        for piece in content.pieces:
            files |= dict.fromkeys(_names(out.path, piece.name, audio_format), content.path.name)
    out.begin({content.path.name: content.fingerprint for content in stores}, files)
    for content in stores:
        missing = [piece for piece in content.pieces if not _has_files(out.path, piece.name, audio_format)]
        with Progress(f"{content.path.name} to {out.path}", len(missing), "pieces") as progress:
            for num_written in map_pieces(partial(_write_pieces, content.path, out.path, audio_format), missing, max_processes):
                progress.advance(num_written)
    atomic.write_text(out.path / "index.csv", index_text([row for content in stores for row in content.rows]))


def write_archive(path: Path, target: Path, max_processes: int, audio_format: AudioFormat | None = None) -> None:
    """Exports a store to a ZIP file, unless it exists; equal stores give equal bytes.

    Args:
        audio_format: of the sound files; None for no sound files.

    Raises:
        StoreError: the store cannot be read.
        PianogenError: file names conflict, the existing file is damaged, of another store or without the requested sound files,
            or a process was killed.
        OSError: the file cannot be written.
    """
    content = _read_content(path)
    if target.exists():
        _check_archive(target, content, audio_format)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    pieces = sorted(content.pieces, key=lambda piece: piece.name)
    with atomic.replacing(target) as temporary, ZipFile(temporary, "w") as archive:
        archive.comment = content.fingerprint.encode()
        _add_member(archive, "index.csv", index_text(content.rows).encode(), ZIP_DEFLATED)
        with Progress(f"{path.name} to {target}", len(pieces), "pieces") as progress:
            for converted in map_pieces(partial(convert_pieces, path, audio_format), pieces, max_processes):
                for piece in converted:
                    _add_member(archive, piece.name, piece.midi, ZIP_DEFLATED)
                    for name, data in _files_beside(piece, audio_format).items():
                        _add_member(archive, name, data, ZIP_STORED)  # PNG is compressed, and sound hardly becomes smaller
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


def _check_archive(path: Path, content: StoreContent, audio_format: AudioFormat | None) -> None:
    """Checks that an archive was exported from a store, with the requested sound files."""
    with opened_archive(path) as archive:
        fingerprint, members = archive.comment.decode(errors="replace"), set(archive.namelist())
    _check_fingerprint(path, content.path.name, content.fingerprint, fingerprint)
    if audio_format and not {sound_name(piece.name, audio_format) for piece in content.pieces} <= members:
        raise PianogenError(f"{path} was exported without {audio_format} files; remove it and decode again")


def _has_files(out: Path, midi: str, audio_format: AudioFormat | None) -> bool:
    sound = [sound_name(midi, audio_format)] if audio_format else []
    return all((out / name).exists() for name in (midi, plot_name(midi), *sound))


def _names(out: Path, midi: str, audio_format: AudioFormat | None) -> list[str]:
    """The files of a piece: its MIDI file, its plot, and the sound files that are requested or exist."""
    formats = [each for each in AudioFormat if each == audio_format or (out / sound_name(midi, each)).exists()]
    return [midi, plot_name(midi), *(sound_name(midi, each) for each in formats)]


def _files_beside(piece: ConvertedPiece, audio_format: AudioFormat | None) -> dict[str, bytes]:
    """Maps the names of the files beside a MIDI file to their content."""
    beside = {plot_name(piece.name): piece.plot}
    if audio_format and piece.sound:
        beside[sound_name(piece.name, audio_format)] = piece.sound
    return beside


def _write_pieces(store_path: Path, out: Path, audio_format: AudioFormat | None, pieces: Sequence[PieceFile]) -> int:
    for piece in convert_pieces(store_path, audio_format, pieces):
        (out / piece.name).parent.mkdir(parents=True, exist_ok=True)
        for name, data in _files_beside(piece, audio_format).items():
            atomic.write_bytes(out / name, data)
        atomic.write_bytes(out / piece.name, piece.midi)
    return len(pieces)


def _add_member(archive: ZipFile, name: str, content: bytes, compression: int) -> None:
    member = ZipInfo(name, _ZIP_DATE)
    member.external_attr = _REGULAR_FILE_MODE
    archive.writestr(member, content, compression)
