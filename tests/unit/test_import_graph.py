"""The layers of docs/architecture.md: which folder may import which, and which module may import which library."""

import shlex
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.support.import_graph import folder_of, imports_of, is_own, modules_of
from tests.support.paths import ROOT

PACKAGES = ("pianogen", "preprocess", "jobs")
TOP = "pianogen pianogen.store"  # the folders that every stage may import
# The folders that the modules of a folder may import, beside their own.
ALLOWED_IMPORTS = {
    "pianogen": "",
    "pianogen.store": "pianogen",
    "pianogen.midi.scores": TOP,
    "pianogen.midi": f"{TOP} pianogen.midi.scores",
    "pianogen.data": TOP,
    "pianogen.models": TOP,
    "pianogen.models.joint": f"{TOP} pianogen.models",
    "pianogen.tracking": TOP,
    "pianogen.training": f"{TOP} pianogen.models pianogen.models.joint pianogen.data pianogen.tracking",
    # A primer is a MIDI file.
    "pianogen.sampling": f"{TOP} pianogen.models pianogen.data pianogen.midi",
    "pianogen.evaluation": f"{TOP} pianogen.models pianogen.data",
    "pianogen.api": f"{TOP} pianogen.midi pianogen.data pianogen.models pianogen.training pianogen.sampling",
    "preprocess": f"{TOP} pianogen.midi preprocess.archives",
    "preprocess.archives": f"{TOP} pianogen.midi",
    "jobs.configuration": f"{TOP} pianogen.training",
    "jobs.cluster": f"{TOP} jobs.configuration",
    "jobs.records": f"{TOP} pianogen.evaluation jobs.configuration jobs.cluster",
    "jobs.execution": f"{TOP} pianogen.data pianogen.models pianogen.tracking pianogen.training pianogen.sampling"
    " pianogen.evaluation"
    " jobs.configuration jobs.cluster jobs.records",
    "jobs.report": f"{TOP} pianogen.training pianogen.evaluation jobs.records",
    "jobs.export": f"{TOP} pianogen.midi jobs.records",
    "jobs.listening": f"{TOP} pianogen.evaluation jobs.records jobs.report",
    "jobs": f"{TOP} pianogen.data pianogen.training pianogen.sampling pianogen.evaluation"
    " jobs.configuration jobs.cluster jobs.records jobs.execution jobs.report jobs.export jobs.listening",
}
# The only modules, or folders, that may import a library.
ALLOWED_IMPORTERS = {
    "h5py": "pianogen.store.hdf5",
    "keras": "pianogen.models pianogen.training",
    "midirenderer": "jobs.export.audio",
    "mpi4py": "preprocess",
    "music21": "pianogen.midi.music21_reader pianogen.midi.writer",
    "numba": "pianogen.kernel_cache pianogen.midi.shingles",
    "soundfile": "jobs.export.audio",
    "submitit": "jobs",
    # pianogen.logs imports it on request, with its messages silenced.
    "tensorflow": "pianogen.logs pianogen.window"
    " pianogen.data pianogen.models pianogen.tracking pianogen.training pianogen.sampling pianogen.evaluation jobs.execution",
    "tensorboard": "pianogen.tracking.tensorboard",
    "wandb": "pianogen.tracking.weights_and_biases",
}


def imported_folders() -> dict[str, set[str]]:
    """For every folder the other folders whose modules it imports; the top packages themselves hold nothing to import."""
    graph: dict[str, set[str]] = {}
    for module in (module for package in PACKAGES for module in modules_of(package)):
        folders = {folder_of(name) for name in imports_of(module) if is_own(name) and name not in PACKAGES}
        graph.setdefault(folder_of(module), set()).update(folders - {folder_of(module)})
    return graph


def test_every_folder_imports_only_folders_of_lower_layers() -> None:
    graph = imported_folders()
    assert graph.keys() == ALLOWED_IMPORTS.keys()
    forbidden = {folder: imports - set(ALLOWED_IMPORTS[folder].split()) for folder, imports in graph.items()}
    assert {folder: imports for folder, imports in forbidden.items() if imports} == {}


def test_allowed_imports_have_no_circle() -> None:
    order = TopologicalSorter({folder: imports.split() for folder, imports in ALLOWED_IMPORTS.items()}).static_order()
    assert set(order) == ALLOWED_IMPORTS.keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_top_package_imports_no_module(package: str) -> None:
    assert {name for name in imports_of(package) if is_own(name)} == set()


@pytest.mark.parametrize("library", ALLOWED_IMPORTERS)
def test_library_is_imported_only_where_it_belongs(library: str) -> None:
    allowed = ALLOWED_IMPORTERS[library].split()
    importers = {
        module
        for package in PACKAGES
        for module in modules_of(package)
        if any(name.partition(".")[0] == library for name in imports_of(module))
    }
    assert importers
    assert {module for module in importers if not any(f"{module}.".startswith(f"{name}.") for name in allowed)} == set()


def test_modules_with_kernels_lie_in_the_folders_that_the_cache_checks() -> None:
    modules = {module for module in modules_of("pianogen") if "pianogen.kernel_cache" in imports_of(module)}
    folders = {"pianogen.midi", "pianogen.data", "pianogen.evaluation"}
    assert modules
    assert {folder_of(module) for module in modules} <= folders
    imported = {other for module in modules for other in imports_of(module) if other.startswith("pianogen.")}
    outside = {other for other in imported if folder_of(other) not in folders}
    assert outside == {"pianogen.kernel_cache", "pianogen.roll", "pianogen.window"}  # the cache checks the last two as well


def test_library_reads_no_variables_of_slurm() -> None:
    sources = (ROOT / "pianogen").rglob("*.py")
    assert [path.name for path in sources if "SLURM" in path.read_text(encoding="utf-8")] == []


@pytest.mark.parametrize(
    ("arguments", "libraries"),
    [
        ("-c 'import pianogen'", "tensorflow keras numba music21 h5py numpy"),
        ("-m preprocess --help", "tensorflow keras numba music21"),
        ("-m pianogen.store --help", "tensorflow keras numba music21"),
        ("-m jobs.sweep --help", "tensorflow keras numba music21"),
        ("-m jobs.sample --help", "tensorflow keras numba music21"),
        ("-m jobs.decode --help", "tensorflow keras numba"),
        ("-m jobs.collect --help", "tensorflow keras numba scipy"),
        ("-m jobs.listening_results --help", "tensorflow keras numba music21 matplotlib scipy"),
    ],
)
def test_process_does_not_load_heavy_libraries(arguments: str, libraries: str) -> None:
    command = [sys.executable, "-X", "importtime", *shlex.split(arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "pianogen" in loaded
    assert loaded & set(libraries.split()) == set()
