"""Random values of settings: `random: {num: 64, seed: 0, space: {training.learning_rate: "loguniform(1e-4, 1e-2)"}}`.

The value of a key in draw i is a function of the seed, i and the key alone. So additional draws or keys do not change the others.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import Field

from jobs.configuration.settings import Settings, by_key
from pianogen.validation import ConfigError, Count, Section, validate

_DISTRIBUTION = re.compile(r"\s*(\w+)\s*\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)\s*")
_DIGITS = 4  # of a drawn number, so that it is readable in the name of a run; more in a narrow range

Distribution = Callable[[float], Any]  # a value from a number in [0, 1)


class Random(Section):
    """Random draws of settings.

    Attributes:
        num: number of draws.
        seed: a draw depends on this seed and on its index.
        space: by key, a list of values, or uniform(A, B), loguniform(A, B) or randint(A, B), which includes A and B.
    """

    num: Count
    seed: int = Field(default=0, ge=0)
    space: dict[str, Any]


def draw(values: Any, where: str) -> Iterator[Settings]:
    """The settings of each draw; one without settings if there is no space.

    Args:
        values: the section `random` of a sweep; None if it has none.
        where: the source of the values, for messages.

    Raises:
        ConfigError: the section is not valid.
    """
    if values is None:
        yield {}
        return
    if not isinstance(values, dict):
        raise ConfigError(f"{where}: random is {values!r}, expected num, seed and space; correct it")
    space = values.get("space") or {}
    if not isinstance(space, dict):
        raise ConfigError(f"{where}: random.space is {space!r}, expected a mapping of keys to what is drawn; correct it")
    values = values | {"space": by_key(space, f"{where}: random.space")}
    random = validate(Random, values, f"{where}: random")
    if not random.space:
        raise ConfigError(f"{where}: random.space is empty; state the settings to draw, or remove random")
    distributions = {key: _distribution(entry, f"{where}: random.space.{key}") for key, entry in random.space.items()}
    for index in range(random.num):
        yield {key: distribution(_uniform(random.seed, index, key)) for key, distribution in distributions.items()}


def _uniform(seed: int, index: int, key: str) -> float:
    """A number in [0, 1)."""
    digest = hashlib.sha256(f"{seed} {index} {key}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _distribution(entry: Any, where: str) -> Distribution:
    if isinstance(entry, list):
        if not entry:
            raise ConfigError(f"{where} is an empty list; give the values to draw from")
        return lambda uniform: entry[int(uniform * len(entry))]
    match = _DISTRIBUTION.fullmatch(entry) if isinstance(entry, str) else None
    try:
        name, low, high = (match[1], float(match[2]), float(match[3])) if match else ("", 0.0, 0.0)
    except ValueError:
        name = ""
    is_valid = name in _DISTRIBUTIONS and low < high and math.isfinite(high - low)
    if (
        not is_valid
        or (name == "loguniform" and not (low > 0 and math.isfinite(high / low)))
        or (name == "randint" and (low % 1 or high % 1))
    ):
        expected = "a list, uniform(A, B), loguniform(A, B) with A > 0, or randint(A, B) with whole numbers; A < B"
        raise ConfigError(f"{where} is {entry!r}, expected {expected}")
    return _DISTRIBUTIONS[name](low, high)


def _uniform_between(low: float, high: float) -> Distribution:
    return lambda uniform: _rounded(low + uniform * (high - low), low, high)


def _loguniform_between(low: float, high: float) -> Distribution:
    return lambda uniform: _rounded(low * (high / low) ** uniform, low, high)


def _rounded(value: float, low: float, high: float) -> float:
    """The value in as many digits as a thousand values of the range need; as it is if the rounded one is outside of the range."""
    magnitude = max(abs(low), abs(high)) / (high - low)
    rounded = float(f"{value:.{max(_DIGITS, math.ceil(math.log10(magnitude)) + _DIGITS - 1)}g}")
    return rounded if low <= rounded < high else value


_DISTRIBUTIONS: dict[str, Callable[[float, float], Distribution]] = {
    "uniform": _uniform_between,
    "loguniform": _loguniform_between,
    "randint": lambda low, high: lambda uniform: int(low) + int(uniform * (high - low + 1)),
}
