"""Every MIDI file of a sweep in one folder, with an index and a report to look at.

python -m jobs.collect runs/quick --out collected
"""

import base64
import csv
import io
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from jobs import rundir, status
from jobs.rundir import Run
from pianogen import command, durable
from pianogen.errors import UsageError
from pianogen.sound import describe
from pianogen.store import Store


def main(arguments: Sequence[str]) -> int:
    """The command `python -m jobs.collect`."""
    parser = command.Parser(
        prog="python -m jobs.collect",
        description="Copy every decoded MIDI file of a sweep into one folder, by run, and write index.csv and report.html.",
        epilog="example:\n  python -m jobs.collect runs/quick --out collected",
    )
    parser.add_argument("sweep", type=Path, metavar="runs/NAME", help="the sweep's directory")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    options = parser.parse_args(arguments)
    runs = rundir.open_runs(options.sweep)
    rows = [row for run in runs for row in _collect_run(run, options.out)]
    if not rows:
        raise UsageError(f"{options.sweep} has no MIDI yet; decode it first: python -m jobs.decode {options.sweep}")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    durable.write_text(options.out / "index.csv", text.getvalue())
    durable.write_text(options.out / "report.html", _render(options.sweep.name, runs, rows))
    print(f"{len(rows)} MIDI files of {len(runs)} runs in {options.out}; open {options.out / 'report.html'}")
    return 0


def _collect_run(run: Run, out: Path) -> list[dict[str, Any]]:
    """Copies the files of one run; a row of the index for each."""
    rows = []
    for path in sorted(run.path.glob("samples*.h5")):
        with Store(path) as store:
            for index, name in enumerate(store.pieces.name):
                midi = run.path / "midi" / f"{path.stem}-{name}.mid"
                if not midi.exists():
                    continue
                target = out / run.name / midi.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with durable.replacing(target) as temporary:
                    shutil.copyfile(midi, temporary)
                drawn = json.loads(store.pieces.sample[index]) if store.pieces.sample else {}
                rows.append({"file": f"{run.name}/{midi.name}", **drawn, **asdict(describe(store.roll(index)))})
    return rows


def _render(title: str, runs: Sequence[Run], rows: Sequence[dict[str, Any]]) -> str:
    environment = Environment(loader=PackageLoader("jobs", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    entries = []
    for run, found in zip(runs, status.look(runs), strict=True):
        midi = [row for row in rows if row["run"] == run.name]
        entries.append(
            {
                "name": run.name,
                "state": found.state,
                "reason": found.reason,
                "config": run.read_config(),
                "result": run.read_result() or {},
                "curves": _picture(run.path / "curves.png"),
                "midi": [
                    {**row, "picture": _picture(run.path / "midi" / Path(row["file"]).with_suffix(".png").name)} for row in midi
                ],
            }
        )
    return environment.get_template("report.html.jinja").render(sweep=title, entries=entries)


def _picture(path: Path) -> str:
    """A PNG as a data URI, '' if there is none."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(command.run(main))
