"""The rolls whose first steps samples continue."""

from pathlib import Path

import numpy as np

from pianogen.config import SamplingConfig
from pianogen.errors import UsageError, cause
from pianogen.midi.options import ReadOptions
from pianogen.midi.reader import read_roll
from pianogen.midi.rejection import Rejection
from pianogen.roll import NUM_KEYS, Roll, pack
from pianogen.sampling.bars import continue_bars


def read_primer(config: SamplingConfig, steps_per_quarter: int) -> Roll:
    """The complete primer; a roll without steps, if there is none.

    Raises:
        UsageError: the primer cannot be read, or has no notes.
    """
    if config.primer is None:
        no_steps = np.zeros(0, np.uint32)
        return Roll(pack(np.zeros((0, NUM_KEYS))), no_steps, no_steps.astype(np.uint8), steps_per_quarter=steps_per_quarter)
    options = ReadOptions(steps_per_quarter=steps_per_quarter)
    try:
        primer, _ = read_roll(Path(config.primer).read_bytes(), config.primer, options)
    except (OSError, Rejection) as error:
        raise UsageError(
            f"cannot read the primer {config.primer}: {cause(error)}; use a MIDI file or score with piano notes"
        ) from error
    return primer


def check_start(config: SamplingConfig, steps_per_quarter: int) -> None:
    """Checks that the primer can be read, and that bars of the meter follow it.

    Raises:
        UsageError: the primer cannot be read or has no notes; or a bar of the meter is not a whole number of steps, or too
            long.
    """
    continue_bars(read_primer(config, steps_per_quarter), 0, config.meter, 1)
