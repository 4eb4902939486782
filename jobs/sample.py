"""More samples of trained runs, as stores beside the ones they ended with.

python -m jobs.sample runs/quick --num 8 --temperature 0.9 --seed 1 --primer theme.mid
"""

import functools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from jobs.configuration.run_config import RunConfig
from jobs.execution import launch
from jobs.execution.launch import Batch
from jobs.records import status, sweep_directory
from jobs.records.run_directory import Run
from pianogen import command, config, logs
from pianogen.config import SamplingConfig
from pianogen.errors import UsageError
from pianogen.store import Store


def main(arguments: Sequence[str]) -> int:
    """The command `python -m jobs.sample`."""
    parser = command.Parser(
        prog="python -m jobs.sample",
        description="Draw samples from every finished run of a sweep, or from one run; stores that are there are kept.",
        epilog="example:\n  python -m jobs.sample runs/quick --num 8 --temperature 0.9 --seed 1 --primer theme.mid",
    )
    standard = SamplingConfig()
    parser.add_argument("target", type=Path, metavar="runs/NAME|RUN", help="a sweep or one run")
    parser.add_argument("--num", type=int, default=standard.num, help="samples of each run (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=standard.steps, help="sixteenths of each (default: %(default)s)")
    parser.add_argument(
        "--temperature", type=float, default=standard.temperature, help="scale of the noise (default: %(default)s)"
    )
    parser.add_argument("--threshold", default=standard.threshold, help="a number from 0 to 1, or dynamic (default: %(default)s)")
    parser.add_argument("--primer", help="a MIDI file or score to continue (default: start from silence)")
    parser.add_argument("--seed", type=int, default=standard.seed, help="(default: %(default)s)")
    parser.add_argument("--cluster", choices=get_args(launch.Cluster), default="local", help="where it runs (default: local)")
    options = parser.parse(arguments)
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
        raise UsageError(f"the primer {options.primer} does not exist; name a MIDI file or score")
    runs = sweep_directory.open_runs(options.target)
    found = status.read_statuses(runs)
    trained = [run for run in runs if found[run].state == "done"]
    for run in runs:
        if run not in trained:
            print(f"{run.path} is {found[run].state}: no samples of it")
    if not trained:
        raise UsageError(f"no run of {options.target} is done; see python -m jobs.sweep status")
    todo = [run for run in trained if not _is_there(run, settings)]
    print(f"{len(todo)} of {len(trained)} finished runs to sample", flush=True)
    if todo:
        draw = functools.partial(draw_job, settings=settings.model_dump(mode="json"))
        paths = [str(run.path.resolve()) for run in todo]
        folder = todo[0].path.parent / "jobs"
        resources = _one_device(todo[0].read_config()).slurm
        jobs = launch.launch(options.cluster, Batch("sample", draw, paths, folder, resources))
        if jobs:
            print(f"queued {len(jobs)} jobs: {jobs[0]} to {jobs[-1]}")
    for run in trained:
        print(run.path / _file_name(settings))
    return 0


def draw_job(path: str, settings: dict[str, object]) -> None:
    """Draws the samples of one run."""
    logs.import_tensorflow()
    from pianogen.data.statistics import compute_statistics
    from pianogen.data.windows import find_windows
    from pianogen.sampling.draw import Sampler, draw_to_store
    from pianogen.sampling.sample_store import SampleSource
    from pianogen.store import Split
    from pianogen.training.devices import find_strategy
    from pianogen.training.resources import Workers
    from pianogen.training.trained_model import load_trained_model

    run = Run(Path(path))
    sampling_config = config.validate(SamplingConfig, settings, "sampling")
    run_config = _one_device(run.read_config())
    find_strategy(run_config.devices, Workers())
    network, checkpoint = load_trained_model(run_config, run.path)
    with run.open_store() as store:
        statistics = compute_statistics(find_windows(store, Split.TRAIN, run_config.data))
    sampler = Sampler(network, sampling_config, statistics, run_config.data.window_steps)
    draw_to_store(run.path / _file_name(sampling_config), sampler, SampleSource(run.name, checkpoint))


def _one_device(trained: RunConfig) -> RunConfig:
    """Drawing takes one device of one node, however many trained."""
    ask = trained.slurm.model_copy(update={"nodes": 1, "gpus_per_node": min(1, trained.slurm.gpus_per_node)})
    return trained.model_copy(update={"slurm": ask, "logical_devices": 1})


def _file_name(settings: SamplingConfig) -> str:
    primer = re.sub(r"[^A-Za-z0-9._]+", "_", Path(settings.primer).name) if settings.primer else "silence"
    return f"samples-seed{settings.seed}-temperature{settings.temperature:g}-threshold{settings.threshold}-{primer}.h5"


def _is_there(run: Run, settings: SamplingConfig) -> bool:
    path = run.path / _file_name(settings)
    if not path.exists():
        return False
    with Store(path) as store:
        found = {key: value for key, value in store.provenance.items() if key != "version"}
    if found != settings.model_dump(mode="json"):
        raise UsageError(f"{path} is there and was drawn otherwise ({json.dumps(found)}); move it away, or choose another --seed")
    return True


def _threshold(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(command.run(main))
