"""A sweep without training: directories of runs with generated metrics, results and samples."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jobs.records.provenance import Attempt
from jobs.records.result import Result
from jobs.records.run_directory import Run
from pianogen.config import SamplingConfig
from pianogen.roll import ONSET, SILENT, pack
from pianogen.sampling.sample_store import Sample, SampleSource, write_samples
from pianogen.store import Split
from pianogen.training.history import History
from tests.support.made_music import made_roll, store_of
from tests.support.rolls import roll_in_4_4
from tests.support.runs import create_runs

VALUES: dict[str, Any] = {
    "device": "cpu",
    "grid": {
        "model.name": ["base", "gru"],
        "training.batch": [64, 128],
        "training.learning_rate": [0.0005, 0.001, 0.002, 0.005, 0.01],
    },
}
CONSTANT_LOSS = 0.0192
TRIVIAL = {
    "markov": {"nats_per_step": 9.0, "static_threshold": {"onset_f1": 0.2}},
    "marginal": {"nats_per_step": 10.0, "static_threshold": {"onset_f1": 0.15}},
    "repeat": {"most_probable": {"onset_f1": 0.05}},
}
SPLITS = [Split.TRAIN] * 10 + [Split.VALID] * 5 + [Split.TEST] * 4
HOSTILE_PIECE = "<img src=x onerror=\"document.title='harmed'\">.mid"


def made_sweep(
    out: Path,
    num_samples: int,
    steps: int,
    epochs: int = 25,
    values: dict[str, Any] = VALUES,
    splits: Sequence[Split] = SPLITS,
) -> list[Run]:
    """The finished runs of a sweep with generated metrics and samples, and a corpus of pieces of 120 steps.

    Args:
        splits: those of the pieces of the corpus.
    """
    rolls = [made_roll(seed, 120) for seed in range(len(splits))]
    corpus = store_of(out.with_suffix(".h5"), rolls, list(splits), HOSTILE_PIECE)
    runs = create_runs(out, corpus, values)
    for number, run in enumerate(runs):
        _finish(run, number, num_samples, steps, epochs)
    return runs


def _finish(run: Run, number: int, num_samples: int, steps: int, epochs: int) -> None:
    """Writes metrics.csv, samples.h5 and result.json; the first two samples collapse."""
    random = np.random.default_rng(number)
    history = History(run.path / "metrics.csv", 0)
    final_loss, decay_epochs = 0.009 + 0.008 * random.random(), 2 + 6 * random.random()
    for epoch in range(1, epochs + 1):
        loss = final_loss + 0.03 * np.exp(-epoch / decay_epochs) + 0.0002 * random.random()
        row = {"epoch": epoch, "iteration": 40 * epoch, "loss": float(loss)}
        history.append(row | {"valid_loss": float(loss + 0.0006 + 0.00004 * epoch)})
    write_made_samples(run, SamplingConfig(num=num_samples, steps=steps), 100 * number)
    network = {"nats_per_step": 6 + 6 * random.random(), "static_threshold": {"onset_f1": random.random() / 2}}
    result = Result(
        checkpoint="ckpt-1000",
        parameters=104_963 if number < 10 else 89_667,
        windows=1_000,
        metrics=history.rows[-1],
        best_valid_loss=min(row["valid_loss"] for row in history.rows),
        constant_predictor_loss=CONSTANT_LOSS,
        held_out={"valid": {"network": network, "trivial": TRIVIAL}},
        samples=[],
    )
    run.write_result(result)
    run.write_provenance(replace(run.read_provenance(), attempts=_attempts(number)))


def _attempts(number: int) -> list[Attempt]:
    """An attempt of 30 minutes that was interrupted, and one of 45 minutes and more that finished on two GPUs."""
    first, last = (
        Attempt(f"2026-03-01T{hour}:00:00+01:00", "node", 1, "", 0, "", "", f"log/attempt-{hour}.log", cpu_s=3_600)
        for hour in (10, 11)
    )
    devices = ["/device:CPU:0", "/device:GPU:0", "/device:GPU:1"]
    return [
        replace(first, ended="2026-03-01T10:30:00+01:00", interrupted="SIGTERM"),
        replace(last, ended=f"2026-03-01T11:45:{number % 60:02d}+01:00", devices=devices, iterations_per_s=20 + number / 8),
    ]


def write_made_samples(
    run: Run, settings: SamplingConfig, seed: int, name: str = "samples.h5", first: int = 0, primer_sha256: str | None = None
) -> None:
    """Writes a store of generated samples from the index `first` on: a silent one, one with onsets at every step, and others."""
    rolls = [made_roll(seed + index, settings.steps) for index in range(settings.num - first)]
    for index, states in enumerate((_silent_states(settings.steps), dense_states(settings.steps))[: len(rolls)]):
        rolls[index] = roll_in_4_4(pack(states), rolls[index].tempo_us)
    write_samples(
        run.path / name, [Sample(roll) for roll in rolls], settings, SampleSource(run.name, "ckpt-1000", primer_sha256), first
    )


def _silent_states(steps: int) -> np.ndarray:
    return np.full((steps, 88), SILENT, np.uint8)


def dense_states(steps: int) -> np.ndarray:
    """(T, 88) states of about 10 onsets per step."""
    states = _silent_states(steps)
    states[np.random.default_rng(steps).random(states.shape) < 0.12] = ONSET
    return states
