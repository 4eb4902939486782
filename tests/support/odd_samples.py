"""A run whose samples have unusual rolls, decoded and collected."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jobs import collect, decode
from pianogen import command
from pianogen.config import SamplingConfig
from pianogen.roll import HOLD, ONSET, SILENT, Roll, equal_bars, pack
from pianogen.sampling.sample_store import Sample, SampleSource, write_samples
from tests.support.made_music import made_roll
from tests.support.made_sweep import dense_states, made_sweep
from tests.support.rolls import roll_in_4_4

A4 = 48


@dataclass(frozen=True, slots=True)
class OddSamples:
    """A report, and the rolls of its samples, keyed by the names of the samples in the order of the page.

    The first two samples are those of a `made_sweep`: 64 steps each, silent and with an onset at every step.
    """

    report: Path
    rolls: dict[str, Roll]

    def index(self, name: str) -> int:
        """The number of a sample in the page."""
        return 2 + list(self.rolls).index(name)


def collect_odd_samples(folder: Path) -> OddSamples:
    """Creates and collects the samples."""
    (run,) = made_sweep(folder / "odd", 2, 64, epochs=1, values={"device": "cpu"})
    rolls = _odd_rolls()
    config = SamplingConfig(num=len(rolls), steps=16)
    write_samples(run.path / "samples-odd.h5", [Sample(roll) for roll in rolls.values()], config, SampleSource(run.name, "ckpt"))
    decode.decode_job(str(run.path), {str(run.path): str(run.path / "midi")})
    assert command.run(collect.main, [str(run.path.parent), "--out", str(folder / "collected")]) == 0
    return OddSamples(folder / "collected" / "report.html", rolls)


def _odd_rolls() -> dict[str, Roll]:
    long_roll = made_roll(1, 10_000)
    chords = dense_states(32)
    chords[::8] = ONSET
    waltz = made_roll(2, 120)
    return {
        "melody": roll_in_4_4(pack(_states(12, {A4: range(0, 12, 2)})), np.repeat([250_000, 1_000_000], 6).astype(np.uint32)),
        "silence": roll_in_4_4(pack(_states(16, {})), _tempo(16)),
        "single note": roll_in_4_4(pack(_states(16, {A4: [4]}, duration=8)), _tempo(16)),
        "single step": roll_in_4_4(pack(_states(1, {A4: [0]})), _tempo(1)),
        "all keys": roll_in_4_4(pack(chords), _tempo(32)),
        "waltz": Roll(waltz.packed, waltz.tempo_us, equal_bars(120, 12, first=8)),
        "long": long_roll,
        "extreme tempos": roll_in_4_4(pack(_states(16, {A4: [0, 15]})), np.repeat([1, 1_500_000], [15, 1]).astype(np.uint32)),
    }


def _states(steps: int, onsets: dict[int, list[int] | range], duration: int = 1) -> np.ndarray:
    states = np.full((steps, 88), SILENT, np.uint8)
    for key, starts in onsets.items():
        for start in starts:
            states[start + 1 : start + duration, key] = HOLD
            states[start, key] = ONSET
    return states


def _tempo(steps: int) -> np.ndarray:
    return np.full(steps, 500_000, np.uint32)
