"""The items of a listening test: excerpts of samples and of held-out pieces in a random order."""

import hashlib
import random
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

from jobs.listening.key import CORPUS, Key, Origin
from jobs.records.run_directory import Run
from jobs.records.samples import SAMPLES
from pianogen.command import counted
from pianogen.errors import UsageError
from pianogen.evaluation.excerpts import held_out_excerpts
from pianogen.roll import Roll, equal_bars
from pianogen.roll_text import encode_roll
from pianogen.store import Split, Store

MAX_STEPS = 256  # half a minute at 120 bpm
_ID_LETTERS = 8


@dataclass(frozen=True, slots=True)
class ListeningTest:
    """A listening test.

    Attributes:
        key: where the items come from.
        rolls: the text of each item's roll, by its identifier, in the order of the page; see `encode_roll`.
    """

    key: Key
    rolls: dict[str, str]


def draw(runs: Sequence[Run], num: int, seed: int) -> ListeningTest:
    """Draws the items: half of them are excerpts of held-out pieces, the others are excerpts of the samples of each run.

    All excerpts have the same length, 256 steps or that of the shortest sample, and start at a random step. Held-out pieces that
    are shorter are used only if there are not enough others.

    Args:
        runs: done runs of one sweep.
        num: number of items.

    Raises:
        UsageError: there are too few samples or held-out pieces.
        StoreError: a store cannot be read.
    """
    generator = random.Random(seed)
    counts = _counts(runs, num)
    samples = {run: _read_samples(run, counts[run]) for run in runs}
    steps = min(MAX_STEPS, *(len(roll) for rolls in samples.values() for roll in rolls.values()))
    excerpts = _draw_pieces(runs[0], num - sum(counts.values()), steps, seed)
    for run, rolls in samples.items():
        for name in generator.sample(sorted(rolls), counts[run]):
            first = generator.randrange(len(rolls[name]) - steps + 1)
            excerpts.append((Origin(run.name, name, first), rolls[name].rows(first, first + steps)))
    generator.shuffle(excerpts)
    identifiers = _draw_identifiers(generator, num)
    rolls_by_item = {item: encode_roll(_without_bars(roll)) for item, (_, roll) in zip(identifiers, excerpts, strict=True)}
    origins = {item: origin for item, (origin, _) in zip(identifiers, excerpts, strict=True)}
    digest = hashlib.sha256(repr((origins, rolls_by_item)).encode(errors="backslashreplace")).hexdigest()
    return ListeningTest(Key(f"test-{digest[:12]}", seed, origins), rolls_by_item)


def _counts(runs: Sequence[Run], num: int) -> dict[Run, int]:
    """The number of excerpts of each run."""
    num_samples = num // 2
    if num_samples < len(runs):
        raise UsageError(
            f"a listening test of {counted(num, 'excerpt')}, half of them of the corpus, is too small for "
            f"{counted(len(runs), 'run')}: give --listening-test {2 * len(runs)} or more, or choose fewer --listening-runs"
        )
    return {run: num_samples // len(runs) + (number < num_samples % len(runs)) for number, run in enumerate(runs)}


def _read_samples(run: Run, count: int) -> dict[str, Roll]:
    """The samples that a run has drawn at its end, by name."""
    path = run.path / SAMPLES
    if not path.is_file():
        raise UsageError(f"{run.path} has no samples because it is not done; choose other runs with --listening-runs")
    with Store(path) as store:
        rolls = {name: store.roll(index) for index, name in enumerate(store.pieces.name)}
    if len(rolls) < count:
        raise UsageError(
            f"{path} has {counted(len(rolls), 'sample')}, and the listening test needs {count}: give a smaller "
            "--listening-test, or train with a larger sampling.num"
        )
    return rolls


def _draw_pieces(run: Run, count: int, steps: int, seed: int) -> list[tuple[Origin, Roll]]:
    """Excerpts of the test split of the store of a run, or of the valid split if there is no test split."""
    groups = run.read_config().data.groups
    with run.open_store() as store:
        for split in (Split.TEST, Split.VALID):
            excerpts = held_out_excerpts(store, split, count, steps, seed, groups)
            if excerpts:
                break
        if len(excerpts) < count:
            raise UsageError(
                f"{store.path} has {counted(len(excerpts), 'piece')} in the {split.name.lower()} split, and the listening test "
                f"needs {count}: give a smaller --listening-test"
            )
    return [(Origin(CORPUS, excerpt.piece, excerpt.first_step), excerpt.roll) for excerpt in excerpts]


def _without_bars(roll: Roll) -> Roll:
    """The same notes in equal bars: pickups and changes of the meter would show which excerpts are from pieces."""
    return replace(roll, bar_position=equal_bars(len(roll), 4 * roll.steps_per_quarter))


def _draw_identifiers(generator: random.Random, num: int) -> list[str]:
    """Different identifiers of letters only, which spreadsheets do not take for numbers."""
    identifiers: dict[str, None] = {}
    while len(identifiers) < num:
        identifiers["".join(generator.choices(string.ascii_lowercase, k=_ID_LETTERS))] = None
    return list(identifiers)
