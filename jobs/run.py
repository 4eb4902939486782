"""What one job of a sweep does: train, draw samples, and only then say that it is done."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs import rundir
from jobs.rundir import Run
from pianogen import durable
from pianogen.errors import PianogenError
from pianogen.sound import describe


def run_job(path: str) -> None:
    """Trains a run and draws its samples, from wherever the last attempt came; nothing, if it is done.

    Raises:
        PianogenError: what stopped it; provenance.json has the message too.
    """
    run = Run(Path(path))
    if run.read_result() is not None:
        return
    log = run.path / rundir.begin_attempt(run)
    try:
        with _output_to(log):
            result = _train_and_sample(run)
    except BaseException as error:
        rundir.end_attempt(run, str(error) if isinstance(error, PianogenError) else f"{type(error).__name__}: {error}; see {log}")
        raise
    rundir.end_attempt(run)
    durable.write_text(run.path / "result.json", json.dumps(result, indent=2) + "\n")


def _train_and_sample(run: Run) -> dict[str, Any]:
    # TensorFlow is imported here, in the job: the commands that only submit or look never wait for it.
    import pianogen
    from pianogen import evaluation, sampling, training
    from pianogen.statistics import gather_statistics

    config = run.read_config()
    with run.open_store() as store:
        trained = training.train(config, store, run.path)
        statistics = gather_statistics(trained.corpus)
        held_out = evaluation.evaluate_held_out(trained.network, store, config.data, statistics)
    rolls = sampling.draw_samples(trained.network, config.sampling, statistics, config.data.window_steps)
    origin = {"run": run.name, "checkpoint": trained.checkpoint}
    sampling.write_samples(run.path / "samples.h5", rolls, config.sampling, origin, pianogen.__version__)
    last = trained.history.rows[-1]
    best = min((row["valid_loss"] for row in trained.history.rows if "valid_loss" in row), default=None)
    return {
        "checkpoint": trained.checkpoint,
        "parameters": trained.network.keras.count_params(),
        "windows": len(trained.corpus),
        **last,
        "best_valid_loss": best,
        "constant_predictor_loss": statistics.constant_predictor_loss,
        "held_out": held_out,
        "samples": [asdict(describe(roll)) for roll in rolls],
    }


@contextmanager
def _output_to(path: Path) -> Iterator[None]:
    """Standard output and error of the process, its libraries' too, go to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with path.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, handle in enumerate(saved, start=1):
            os.dup2(handle, number)
            os.close(handle)
