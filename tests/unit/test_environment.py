"""environment.yml, setup.cfg and the Makefile list the same packages with the same version bounds."""

import configparser
import re

from pianogen.yaml_files import load_yaml
from tests.support.paths import ROOT


def test_environment_and_setup_have_the_same_bounds() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    bounds = dict(split(line) for line in setup["options"]["install_requires"].strip().splitlines())
    bounds["python"] = setup["options"]["python_requires"]
    (mpi,) = re.findall(r"^MPI \?= (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    bounds["mpich"] = split(mpi)[1]
    *conda, pip = load_yaml(ROOT / "environment.yml")["dependencies"]
    packages = dict(split(package) for package in conda if package != "pip")
    assert packages == {name: bounds[name] for name in ("python", "mpi4py", "mpich")}
    assert pip == {"pip": ["--editable .[cpu]"]}


def split(requirement: str) -> tuple[str, str]:
    """The name and the version bounds of a requirement."""
    (name,) = re.findall(r"^[A-Za-z0-9._-]+", requirement)
    return name, requirement.removeprefix(name)
