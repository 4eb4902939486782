"""The method of the 2021 report: reads the MIDI files of a folder with music21's converter, without its cache.

python -m benchmarks.programs.report_reader midis/
"""

import json
import sys
import time
import warnings
from pathlib import Path

from music21 import converter

if __name__ == "__main__":
    paths = sorted(Path(sys.argv[1]).iterdir())
    warnings.simplefilter("ignore")  # music21 warns about nearly every file
    converter.parse(paths[0], forceSource=True)  # imports and initialization of the first call are not timed
    begin = time.perf_counter()
    for path in paths:
        converter.parse(path, forceSource=True)
    print(json.dumps({"files": len(paths), "s": time.perf_counter() - begin}))
