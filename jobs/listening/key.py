"""The key of a listening test, which maps the items of the page to runs and pieces; listeners do not get it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from jobs.records import record_file
from pianogen.command import counted
from pianogen.errors import UsageError, cause

CORPUS = "corpus"  # as a source
_EXPECTED = "give the file that pianogen collect --listening-test has written beside the page"


class Mode(StrEnum):
    """The kinds of listening tests: of single excerpts, or of pairs of an excerpt of a sample and one of a held-out piece."""

    SINGLE = "single"
    PAIRS = "pairs"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an excerpt of a listening test comes from.

    Attributes:
        source: name of the run, or CORPUS.
        piece: name of the sample or of the piece.
        first_step: the step at which the excerpt starts.
    """

    source: str
    piece: str
    first_step: int


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a listening test.

    Attributes:
        test: identifies the test; the page and the answers contain it.
        seed: of the draw.
        origins: where each item comes from, by the identifier of the item, in the order of the page.
        mode: whether each two consecutive items are a pair.
    """

    test: str
    seed: int
    origins: Mapping[str, Origin]
    mode: Mode = Mode.SINGLE

    @property
    def sources(self) -> list[str]:
        """The corpus and the names of the runs, in order."""
        runs = {origin.source for origin in self.origins.values()} - {CORPUS}
        return [CORPUS, *sorted(runs)]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The two items of each pair, in the order of the page; none in a test of single excerpts.

        Raises:
            ValueError: the number of items is odd.
        """
        items = list(self.origins) if self.mode is Mode.PAIRS else []
        return list(zip(items[::2], items[1::2], strict=True))

    @property
    def contents(self) -> str:
        """The number and kind of the excerpts, as text."""
        return counted(len(self.pairs), "pair") if self.mode is Mode.PAIRS else counted(len(self.origins), "excerpt")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads the key from a JSON file.

        Raises:
            UsageError: the file is missing, or it is not a key.
        """
        try:
            content: Any = json.loads(path.read_text(encoding="utf-8"))
            origins = {item: record_file.validate(Origin, origin) for item, origin in content["origins"].items()}
            # Keys of earlier versions have no mode: there were no pairs.
            key = cls(str(content["test"]), int(content["seed"]), origins, Mode(content.get("mode", Mode.SINGLE)))
            for pair in key.pairs:
                if [origins[item].source for item in pair].count(CORPUS) != 1:
                    raise ValueError(f"the pair {' and '.join(pair)} is not an excerpt of a sample and one of the corpus")
            return key
        except OSError as error:
            raise UsageError(f"{path} cannot be read ({cause(error)}); {_EXPECTED}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path} is not the key of a listening test ({type(error).__name__}: {cause(error)}); {_EXPECTED}"
            ) from error

    def to_json(self) -> bytes:
        """The content of its file."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()
