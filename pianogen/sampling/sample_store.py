"""The store of the samples of a run."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

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
    """

    run: str
    checkpoint: str


def write_samples(path: Path, rolls: list[Roll], config: SamplingConfig, source: SampleSource) -> None:
    """Writes samples as a store; each piece records the settings that the sample was drawn with."""
    settings = config.model_dump(mode="json", include={"temperature", "top_p", "threshold", "primer", "primer_steps", "tempo"})
    pieces = Pieces(
        name=[f"{index:04d}" for index in range(len(rolls))],
        group=[""] * len(rolls),
        steps=np.array([len(roll) for roll in rolls], np.uint32),
        first_step=np.zeros(len(rolls), np.uint32),
        notes=np.array([roll.num_notes for roll in rolls], np.uint32),
        split=np.full(len(rolls), Split.NONE, np.uint8),
        sha256=[roll.sha256 for roll in rolls],
        sample=[json.dumps({**asdict(source), "seed": config.seed, "index": index, **settings}) for index in range(len(rolls))],
    )
    write_store(path, "samples", pieces, rolls, {"version": __version__, **config.model_dump(mode="json")})
