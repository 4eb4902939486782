"""Conversion of pieces to MIDI files and plots, in several processes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from jobs.export import audio
from jobs.export.audio import AudioFormat
from jobs.export.index import PieceFile
from jobs.export.process_pool import map_in_order
from pianogen.errors import PianogenError
from pianogen.midi.writer import write_midi
from pianogen.roll_plot import plot_roll
from pianogen.store import Store, StoreError

STEPS_PER_PROCESS = 65_536  # half a second of one core: as long as a process takes to start
_STEPS_PER_CHUNK = 16_384

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class ConvertedPiece:
    """A piece as the content of two or three files.

    Attributes:
        name: path of the MIDI file below the output folder.
        midi: its content.
        plot: the PNG beside it.
        sound: the sound file beside it; None if none was requested.
    """

    name: str
    midi: bytes
    plot: bytes
    sound: bytes | None


def convert_pieces(store_path: Path, audio_format: AudioFormat | None, pieces: Sequence[PieceFile]) -> list[ConvertedPiece]:
    """Converts pieces of a store.

    Args:
        audio_format: of the sound files; None for no sound files.

    Raises:
        StoreError: the store cannot be read, a MIDI file cannot represent a roll, or a roll is too long for a sound file.
    """
    converted = []
    with Store(store_path) as store:
        for piece in pieces:
            roll = store.roll(piece.index)
            try:
                sound = audio.render(write_midi(audio.with_release(roll)), audio_format) if audio_format else None
                converted.append(ConvertedPiece(piece.name, write_midi(roll), plot_roll(roll), sound))
            except PianogenError as error:
                raise StoreError(f"{store_path}: {store.pieces.name[piece.index]}: {error}") from error
    return converted


def map_pieces(
    function: Callable[[Sequence[PieceFile]], _Result], pieces: Sequence[PieceFile], max_processes: int
) -> Iterator[_Result]:
    """Calls a function with chunks of consecutive pieces, and yields the results in order; see `map_in_order`."""
    num_processes = min(max_processes, 1 + sum(piece.steps for piece in pieces) // STEPS_PER_PROCESS)
    return map_in_order(function, _split_into_chunks(pieces), num_processes)


def _split_into_chunks(pieces: Sequence[PieceFile]) -> list[list[PieceFile]]:
    chunks: list[list[PieceFile]] = []
    num_steps = _STEPS_PER_CHUNK
    for piece in pieces:
        if num_steps >= _STEPS_PER_CHUNK:
            chunks.append([])
            num_steps = 0
        chunks[-1].append(piece)
        num_steps += piece.steps
    return chunks
