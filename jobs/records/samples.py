"""The samples in the directory of a run: their stores, and the parameters that each sample was drawn with."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from jobs.records import record_file
from jobs.records.run_directory import Run
from pianogen.config import SamplingConfig
from pianogen.evaluation.memorization import Memorization
from pianogen.names import MAX_BYTES
from pianogen.store import Store

SAMPLES = "samples.h5"  # those that a run draws at its end
_MEMORIZATION = ".memorization.json"
MAX_STEM_BYTES = MAX_BYTES - len(_MEMORIZATION)  # of the name of a store; other names that begin with it are shorter


@dataclass(frozen=True, slots=True)
class SampleParameters:
    """The parameters that a sample was drawn with, as its store records them.

    Attributes:
        run: name of the run at that time.
        seed: random seed of the store.
        index: of the sample; with the settings and the seed, it determines the sample.
        temperature, top_p: see `pianogen.config.SamplingConfig`, as for all settings below.
        threshold: "dynamic", or a static threshold; None for a model that predicts keys jointly.
        primer: path of the primer; None if the sample starts from silence.
        meter: time signature; None if the bars of the primer continue or are 4/4.
        tempo: "drawn", or in bpm.
        checkpoint: name of the checkpoint of the model.
    """

    run: str
    seed: int
    index: int
    temperature: float
    top_p: float
    threshold: str | float | None
    primer: str | None
    primer_steps: int | None
    meter: str | None
    tempo: str | float
    best_of: int
    checkpoint: str

    def __str__(self) -> str:
        """The settings that apply, without the index."""
        parts = [f"seed {self.seed}", f"temperature {self.temperature:g}"]
        if self.threshold is not None:
            parts.append(f"threshold {self.threshold}")
        if self.top_p < 1:
            parts.append(f"top-p {self.top_p:g}")
        if self.meter is not None:
            parts.append(self.meter)
        if self.tempo != "drawn":
            parts.append(f"{self.tempo} bpm")
        if self.best_of > 1:
            parts.append(f"best of {self.best_of}")
        steps = f" ({self.primer_steps} steps)" if self.primer_steps else ""
        parts.append(f"primer {self.primer}{steps}" if self.primer else "no primer")
        return ", ".join(parts)


def find_sample_stores(run: Run) -> list[Path]:
    """The stores of a run's samples, those from the end of its training first; leftovers of killed writers are ignored."""
    paths = [path for path in run.path.glob("samples*.h5") if ".h5.tmp-" not in path.name]
    return sorted(paths, key=lambda path: path.stem)


def memorization_file(store: Path) -> Path:
    """The file with the passages that samples have in common with the train split; those of SAMPLES are in result.json."""
    return store.with_suffix(_MEMORIZATION)


def read_memorization(run: Run, store: Path) -> Memorization | None:
    """The passages that the samples of a store have in common with the train split; None without a search.

    Raises:
        RecordError: the record is damaged.
    """
    if store.name == SAMPLES:
        result = run.read_result()
        return result.memorization if result else None
    path = memorization_file(store)
    action = "remove it together with the samples, and draw them again with pianogen sample"
    return record_file.read(path, Memorization.parse, action) if path.is_file() else None


def find_drawn(run: Run, settings: SamplingConfig) -> dict[Path, list[int]]:
    """The stores of samples that were drawn with these settings, of whatever number, and the indices of their samples.

    Raises:
        OSError: the primer cannot be read.
    """
    drawn, primer = {}, hash_primer(settings)
    for path in find_sample_stores(run):
        with Store(path) as store:
            has_settings = _without_number(store.provenance) == _without_number(settings.model_dump(mode="json"))
            # Earlier versions did not record the hash.
            if has_settings and {record.get("primer_sha256", primer) for record in _records(store)} == {primer}:
                drawn[path] = [parameters.index for parameters in read_parameters(store)]
    return drawn


def hash_primer(settings: SamplingConfig) -> str | None:
    """The hash of the content of the primer, None without one.

    Raises:
        OSError: the primer cannot be read.
    """
    return hashlib.sha256(Path(settings.primer).read_bytes()).hexdigest() if settings.primer else None


def _without_number(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in ("num", "version")}


def read_parameters(store: Store) -> list[SampleParameters]:
    """The parameters of every sample of a store."""
    names = [field.name for field in fields(SampleParameters)]
    return [SampleParameters(**{name: record.get(name) for name in names}) for record in _records(store)]


def _records(store: Store) -> list[Any]:
    return [json.loads(text) for text in store.pieces.sample or ()]
