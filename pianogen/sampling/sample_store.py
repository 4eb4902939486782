"""The store of the samples of a run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pianogen import __version__
from pianogen.config import SamplingConfig
from pianogen.roll import Roll
from pianogen.store import Pieces, Split, write_store


@dataclass(frozen=True, slots=True)
class SampleSource:
    """The trained model that samples were drawn from.

    Attributes:
        run: name of the run.
        checkpoint: name of its last checkpoint.
        primer_sha256: hash of the content of the primer, whose file may change; None without a primer.
    """

    run: str
    checkpoint: str
    primer_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A drawn sample.

    Attributes:
        roll: its roll.
        candidate: which of the `best_of` candidates it is, from 0.
        nats_per_note: its negative log-likelihood divided by its number of onsets; 0 if there was only one candidate.
    """

    roll: Roll
    candidate: int = 0
    nats_per_note: float = 0.0


def write_samples(path: Path, samples: list[Sample], config: SamplingConfig, source: SampleSource, first: int = 0) -> None:
    """Writes samples as a store; each piece records the settings that the sample was drawn with.

    Args:
        first: index of the first sample; the index of a sample is its name.
    """
    rolls = [sample.roll for sample in samples]
    pieces = Pieces(
        name=[f"{first + number:04d}" for number in range(len(rolls))],
        group=[""] * len(rolls),
        steps=np.array([len(roll) for roll in rolls], np.uint32),
        first_step=np.zeros(len(rolls), np.uint32),
        notes=np.array([roll.num_notes for roll in rolls], np.uint32),
        split=np.full(len(rolls), Split.NONE, np.uint8),
        sha256=[roll.sha256 for roll in rolls],
        sample=[json.dumps(_record(index, sample, config, source)) for index, sample in enumerate(samples, first)],
    )
    write_store(path, "samples", pieces, rolls, {"version": __version__, **config.model_dump(mode="json")})


def _record(index: int, sample: Sample, config: SamplingConfig, source: SampleSource) -> dict[str, Any]:
    """The origin and the settings of a sample."""
    settings = config.model_dump(mode="json", exclude={"num", "steps", "seed"})
    choice = {"candidate": sample.candidate, "nats_per_note": sample.nats_per_note} if config.best_of > 1 else {}
    origin = {key: value for key, value in asdict(source).items() if value is not None}
    return {**origin, "seed": config.seed, "index": index, **settings, **choice}
