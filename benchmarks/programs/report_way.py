"""How the report read MIDI files: music21's converter, without its cache, one file after the other.

python -m benchmarks.programs.report_way midis/
"""

import json
import sys
import time
import warnings
from pathlib import Path

from music21 import converter

if __name__ == "__main__":
    paths = sorted(Path(sys.argv[1]).iterdir())
    warnings.simplefilter("ignore")  # it warns of nearly every file
    converter.parse(paths[0], forceSource=True)  # what it imports and builds on first use is not timed
    begin = time.perf_counter()
    for path in paths:
        converter.parse(path, forceSource=True)
    print(json.dumps({"files": len(paths), "s": time.perf_counter() - begin}))
