"""environment.yml, setup.cfg and the Makefile name the same packages with the same bounds."""

import configparser
import re

from pianogen.config import load_yaml
from tests.support.paths import ROOT


def test_environment_and_setup_agree() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    bounds = dict(split(line) for line in setup["options"]["install_requires"].split())
    bounds["python"] = setup["options"]["python_requires"]
    bounds["mpich"] = split(re.search(r"^MPI \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1])[1]
    conda = load_yaml(ROOT / "environment.yml")["dependencies"]
    named = dict(split(each) for each in conda if isinstance(each, str) and each != "pip")
    assert named == {name: bounds[name] for name in named}
    assert set(named) == {"python", "mpi4py", "mpich"}
    assert conda[-1] == {"pip": ["--editable .[cpu]"]}


def split(requirement: str) -> tuple[str, str]:
    name = re.match(r"[A-Za-z0-9_-]+", requirement)[0]
    return name, requirement.removeprefix(name)
