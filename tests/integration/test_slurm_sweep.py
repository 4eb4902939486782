"""A sweep on a real Slurm: queued, trained on the nodes, and the same as in this process."""

import json
import subprocess
import sys
from pathlib import Path

from made_music import made_store
from slurm_cluster import SlurmCluster, wait_until

from pianogen.store import Split

ROOT = Path(__file__).parents[2]
SWEEP = """\
device: cpu
model: {units: 8}
data: {window_steps: 16}
training: {epochs: 1, batch: 16}
sampling: {num: 2, steps: 20}
slurm: {cpus_per_task: 1, memory_gb: 2, timeout_min: 15, max_parallel: 2}
grid: {model.name: [base, gru]}
"""


def test_sweep_on_slurm_gives_what_it_gives_here(slurm: SlurmCluster, tmp_path: Path) -> None:
    store = made_store(tmp_path / "corpus.h5", [Split.TRAIN] * 2 + [Split.VALID])
    sweep, out = tmp_path / "small.yaml", tmp_path / "my runs"
    sweep.write_text(SWEEP)
    command = [sys.executable, "-m", "jobs.sweep", "submit", str(sweep), "--store", str(store), "--out", str(out)]
    submitted = slurm.run(*command, cwd=ROOT, timeout_s=60)
    assert submitted.returncode == 0, submitted.stderr
    assert "queued 2 jobs" in submitted.stdout
    names = ["0000-base", "0001-gru"]
    wait_until(lambda: all((out / name / "result.json").exists() for name in names), 150, "the runs are done")
    here = tmp_path / "here"
    plain = [*command[:-1], str(here), "--cluster", "debug", "grid.model.name=[base]"]
    subprocess.run(plain, cwd=ROOT, check=True, capture_output=True, timeout=150)
    on_node, in_process = (json.loads((run / "result.json").read_text()) for run in (out / names[0], here / names[0]))
    assert on_node == in_process
    assert (out / names[0] / "samples.h5").read_bytes() == (here / names[0] / "samples.h5").read_bytes()
