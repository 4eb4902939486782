"""The tree in docs/architecture.md matches the folders of this repository."""

import re
from collections.abc import Iterator

from tests.support.paths import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = ("pianogen", "preprocess", "jobs", "slurm", "sweeps", "benchmarks", "tests", "docs")


def listed_paths() -> Iterator[str]:
    """The paths of the indented tree, folders with a slash at their end."""
    section = TEXT.partition("## The tree")[2].partition("\n## ")[0]
    parents: list[str] = []
    for indentation, name in re.findall(r"^ {4}( *)([\w.]+/?)  ", section, re.MULTILINE):
        parents = [*parents[: len(indentation) // 4], name]
        yield "".join(parents)


def test_tree_lists_only_what_exists() -> None:
    paths = list(listed_paths())
    assert [path for path in paths if not (ROOT / path).exists() or (ROOT / path).is_dir() != path.endswith("/")] == []


def test_tree_lists_every_folder_and_the_modules_at_the_top_of_the_library() -> None:
    folders = {f"{folder}/" for folder in FOLDERS}
    folders |= {f"{path.parent.relative_to(ROOT)}/" for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    modules = {f"pianogen/{path.name}" for path in (ROOT / "pianogen").glob("[!_]*.py")}
    assert folders | modules <= set(listed_paths())


def test_paths_in_the_text_exist() -> None:
    paths = re.findall(r"`((?:pianogen|preprocess|jobs|slurm|tests)/[\w./]*)`", TEXT)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
