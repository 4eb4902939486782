"""Draws more samples from trained runs, into stores beside the samples from the end of the training.

python -m jobs.sample runs/quick --num 8 --temperature 0.9 --seed 1 --primer theme.mid
"""

import functools
import json
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from jobs.configuration.run_config import RunConfig
from jobs.execution import launch
from jobs.execution.launch import Batch, Cluster
from jobs.records import status, sweep_directory
from jobs.records.run_directory import Run
from jobs.records.status import State
from pianogen import command, config, logs
from pianogen.config import SamplingConfig
from pianogen.errors import UsageError
from pianogen.store import Store

_log = logging.getLogger("jobs.sample")


def main(arguments: Sequence[str]) -> int:
    """The command `python -m jobs.sample`."""
    options = _parser().parse(arguments)
    launch.check_cluster(options.cluster)
    settings = config.validate(
        SamplingConfig,
        {
            "num": options.num,
            "steps": options.steps,
            "temperature": options.temperature,
            "threshold": _threshold(options.threshold),
            "primer": str(Path(options.primer).resolve()) if options.primer else None,
            "seed": options.seed,
        },
        "sampling",
    )
    if settings.primer is not None and not Path(settings.primer).is_file():
        raise UsageError(f"--primer {options.primer} is not a file; pass a MIDI file or score")
    _sample(options.target, settings, options.cluster)
    return 0


def _parser() -> command.Parser:
    defaults = SamplingConfig()
    parser = command.Parser(
        prog="python -m jobs.sample",
        description="Draw samples from every finished run of a sweep, or from one run. Existing stores are kept.",
        epilog="examples:\n"
        "  python -m jobs.sample runs/quick --num 8 --temperature 0.9 --seed 1 --primer theme.mid\n"
        "  python -m jobs.sample runs/quick/0000-base --threshold 0.5 --seed 2",
    )
    parser.add_argument("target", type=Path, metavar="runs/NAME|RUN", help="a sweep directory or one run")
    parser.add_argument("--num", type=int, default=defaults.num, help="number of samples per run (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=defaults.steps, help="length of a sample in sixteenth notes (default: %(default)s)"
    )
    parser.add_argument(
        "--temperature", type=float, default=defaults.temperature, help="scale of the randomness (default: %(default)s)"
    )
    parser.add_argument(
        "--threshold",
        default=defaults.threshold,
        help="a number between 0 and 1 (static: a key sounds when its probability exceeds it) or dynamic (computed at each step, "
        "so that samples have as many onsets and holds as the corpus; default: %(default)s)",
    )
    parser.add_argument("--primer", help="a MIDI file or score that the samples continue (default: samples start from silence)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="random seed (default: %(default)s)")
    parser.add_argument("--cluster", choices=get_args(Cluster), default="local", help="where jobs run (default: local)")
    return parser


def _sample(target: Path, settings: SamplingConfig, cluster: Cluster) -> None:
    runs = sweep_directory.open_runs(target)
    statuses = status.read_statuses(runs)
    trained = [run for run in runs if statuses[run].state is State.DONE]
    for run in runs:
        if run not in trained:
            _log.warning("%s is %s, not done; it is skipped", run.path, statuses[run].state)
    if not trained:
        raise UsageError(f"no run of {target} is done; see python -m jobs.sweep status {target}")
    missing = [run for run in trained if not _has_samples(run, settings)]
    _log.info("%d of %d finished runs have no samples with these settings yet", len(missing), len(trained))
    if missing:
        function = functools.partial(draw_job, settings=settings.model_dump(mode="json"))
        paths = [str(run.path.resolve()) for run in missing]
        resources = _one_device(missing[0].read_config()).slurm
        jobs = launch.launch(cluster, Batch("sample", function, paths, missing[0].path.parent / "jobs", resources))
        if jobs:
            print(f"queued {len(jobs)} jobs: {jobs[0]} to {jobs[-1]}")
    for run in trained:
        print(run.path / _file_name(settings))


def draw_job(path: str, settings: dict[str, object]) -> None:
    """Draws samples from the model of a run.

    Args:
        path: the directory of the run.
        settings: the values of a SamplingConfig.
    """
    logs.import_tensorflow()
    from pianogen.data.statistics import train_statistics
    from pianogen.sampling.draw import Sampler, draw_to_store
    from pianogen.sampling.sample_store import SampleSource
    from pianogen.training.devices import find_strategy
    from pianogen.training.resources import Workers
    from pianogen.training.trained_model import load_trained_model

    run = Run(Path(path))
    sampling_config = config.validate(SamplingConfig, settings, "sampling")
    run_config = _one_device(run.read_config())
    find_strategy(run_config.devices, Workers())
    with run.open_store() as store:
        statistics = train_statistics(store, run_config.data)
    network, checkpoint = load_trained_model(run_config, statistics.keys, run.path)
    sampler = Sampler(network, sampling_config, statistics)
    draw_to_store(run.path / _file_name(sampling_config), sampler, SampleSource(run.name, checkpoint))


def _one_device(trained: RunConfig) -> RunConfig:
    """The configuration of a run with one device on one node; sampling does not use more."""
    slurm = trained.slurm.model_copy(update={"nodes": 1, "gpus_per_node": min(1, trained.slurm.gpus_per_node)})
    return trained.model_copy(update={"slurm": slurm, "logical_devices": 1})


def _file_name(settings: SamplingConfig) -> str:
    primer = re.sub(r"[^A-Za-z0-9._]+", "_", Path(settings.primer).name) if settings.primer else "silence"
    return f"samples-seed{settings.seed}-temperature{settings.temperature:g}-threshold{settings.threshold}-{primer}.h5"


def _has_samples(run: Run, settings: SamplingConfig) -> bool:
    """Whether the run has a store of samples with these settings.

    Raises:
        UsageError: the store has other settings that its file name does not show.
    """
    path = run.path / _file_name(settings)
    if not path.exists():
        return False
    expected = settings.model_dump(mode="json")
    with Store(path) as store:
        recorded = {key: value for key, value in store.provenance.items() if key != "version"}
    if recorded != expected:
        raise UsageError(
            f"{path} exists with other settings: {json.dumps(recorded)}, expected {json.dumps(expected)}; "
            "move it away, or choose another --seed"
        )
    return True


def _threshold(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text  # "dynamic", or refused by the validation of the configuration


if __name__ == "__main__":
    sys.exit(command.run(main))
