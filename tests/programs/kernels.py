"""Reads one note with the kernels of an installation; prints the cache folder, the number of compiled kernels and the roll.

python tests/programs/kernels.py [--only-folder] [--wait-s SECONDS]
"""

import argparse
import json

from pianogen import kernel_cache
from pianogen.midi import quantize, track_scanner
from pianogen.midi.reader import read_roll

NOTE = b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\x0c\0\x90\x3c\x40\x60\x80\x3c\x40\0\xff\x2f\0"

parser = argparse.ArgumentParser()
parser.add_argument("--only-folder", action="store_true")
parser.add_argument("--wait-s", type=float, default=kernel_cache.WAIT_S)
options = parser.parse_args()

result = {"folder": str(kernel_cache.FOLDER), "num_compiled": 0, "roll": ""}
if not options.only_folder:
    kernel_cache.compile_once(lambda: read_roll(NOTE, "note.mid"), wait_s=options.wait_s)
    roll, _ = read_roll(NOTE, "note.mid")
    kernels = [value for module in (track_scanner, quantize) for value in vars(module).values() if hasattr(value, "stats")]
    num_compiled = sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels)
    result |= {"num_compiled": num_compiled, "roll": roll.packed.tobytes().hex()}
print(json.dumps(result))
