"""A run on a disk that becomes full. Prints the state and the reason of the run when the disk is full, and when it is not again.

python tests/programs/full_disk.py FOLDER STORE
"""

import subprocess
import sys
from pathlib import Path

from tests.support.processes import wait_until
from tests.support.runs import attempt, iteration_of, prepare, state_of

if __name__ == "__main__":
    folder, store = map(Path, sys.argv[1:])
    run = prepare(
        folder / "sweep", store, training={"batch": 8, "epochs": 1_000}, checkpoints={"every_iterations": 9, "retry_min": 0}
    )
    filler = folder / "filler"
    with subprocess.Popen(attempt(run), stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: iteration_of(run) > 0, "a checkpoint")
        with filler.open("wb", buffering=0) as file:
            try:
                while process.poll() is None:
                    file.write(bytes(1_000))
            except OSError:
                process.wait()
    print(*state_of(run))
    filler.unlink()
    last = iteration_of(run)
    with subprocess.Popen(attempt(run), stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: iteration_of(run) > last or process.poll() is not None, "a later checkpoint")
        process.terminate()
    print(*state_of(run))
