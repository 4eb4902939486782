"""Self-contained HTML pages: their style sheets and scripts are part of the file, and they request nothing."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, styles: Sequence[str], scripts: Sequence[str], **values: object) -> str:
    """The HTML of a page.

    Args:
        template: name of a template in assets/, as for the other files.
        scripts: in order of dependence.
        values: the variables of the template, beside `style`, `script` and `script_hash`.
    """
    script = _join(scripts)
    environment = Environment(
        loader=PackageLoader("jobs.report", "assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(template).render(
        style=Markup(_join(styles)),
        script=Markup(script),
        # The Content-Security-Policy allows only this script, whatever text the names contain.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )


def _join(names: Sequence[str]) -> str:
    """The contents of files."""
    folder = files("jobs.report") / "assets"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
