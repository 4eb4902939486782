"""The items of a listening test: excerpts of samples and of held-out pieces in a random order."""

import hashlib
import random
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from jobs.listening.key import CORPUS, Key, Mode, Origin
from jobs.records.run_directory import Run
from jobs.records.samples import SAMPLES
from pianogen.command import counted
from pianogen.errors import UsageError
from pianogen.evaluation.excerpts import held_out_excerpts
from pianogen.roll import Roll, equal_bars
from pianogen.roll_text import encode_roll
from pianogen.store import Split, Store

MAX_QUARTERS = 64  # half a minute at 120 bpm
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

    @property
    def questions(self) -> list[tuple[str, ...]]:
        """The items that each question of the page is about: one, or the two of a pair."""
        return [*self.key.pairs] or [(item,) for item in self.rolls]


@dataclass(frozen=True, slots=True)
class _Item:
    """An excerpt before it has an identifier."""

    origin: Origin
    roll: Roll


def draw(runs: Sequence[Run], num: int, seed: int, mode: Mode = Mode.SINGLE) -> ListeningTest:
    """Draws the items: excerpts of the samples of each run, and of held-out pieces of the groups that the run was trained on.

    All excerpts have the same length, 64 quarter notes or less if a sample or a piece is shorter, and start at a random step.
    Shorter pieces are used only if there are not enough others.

    Args:
        runs: done runs of one sweep.
        num: number of pairs, or of single excerpts, of which half are of held-out pieces.

    Raises:
        UsageError: there are too few samples or held-out pieces.
        StoreError: a store cannot be read.
    """
    generator = random.Random(seed)
    sample_counts, piece_counts = _counts(runs, num, mode)
    samples = {run: _read_samples(run, sample_counts[run]) for run in runs}
    steps = min(min(MAX_QUARTERS * roll.steps_per_quarter, len(roll)) for rolls in samples.values() for roll in rolls.values())
    pieces = _draw_pieces(piece_counts, steps, seed)
    steps = min(steps, min(len(item.roll) for items in pieces.values() for item in items))
    questions: list[list[_Item]] = []
    for run, rolls in samples.items():
        excerpts = _draw_samples(run.name, rolls, sample_counts[run], steps, generator)
        if mode is Mode.PAIRS:
            questions += [generator.sample(pair, 2) for pair in zip(excerpts, pieces[run], strict=True)]
        else:
            questions += [[item] for item in (*excerpts, *pieces[run])]
    generator.shuffle(questions)
    items = [replace(item, roll=item.roll.rows(0, steps)) for question in questions for item in question]
    return _assemble(dict(zip(_draw_identifiers(generator, len(items)), items, strict=True)), seed, mode)


def _counts(runs: Sequence[Run], num: int, mode: Mode) -> tuple[dict[Run, int], dict[Run, int]]:
    """The number of samples, and that of held-out pieces, for each run."""
    num_samples, num_pieces = (num, num) if mode is Mode.PAIRS else (num // 2, num - num // 2)
    if num_samples < len(runs):
        contents = counted(num, "pair") if mode is Mode.PAIRS else f"{counted(num, 'excerpt')}, half of them of the corpus,"
        raise UsageError(
            f"a listening test of {contents} is too small for {counted(len(runs), 'run')}: give --listening-test "
            f"{len(runs) if mode is Mode.PAIRS else 2 * len(runs)} or more, or choose fewer --listening-runs"
        )
    samples, pieces = (
        {run: total // len(runs) + (number < total % len(runs)) for number, run in enumerate(runs)}
        for total in (num_samples, num_pieces)
    )
    return samples, pieces


def _read_samples(run: Run, count: int) -> dict[str, Roll]:
    """Maps the names of the samples that a run has drawn at its end to their rolls."""
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


def _draw_samples(run: str, rolls: Mapping[str, Roll], count: int, steps: int, generator: random.Random) -> list[_Item]:
    """Excerpts of different samples of a run."""
    items = []
    for name in generator.sample(sorted(rolls), count):
        first = generator.randrange(len(rolls[name]) - steps + 1)
        items.append(_Item(Origin(run, name, first), rolls[name].rows(first, first + steps)))
    return items


def _draw_pieces(counts: Mapping[Run, int], steps: int, seed: int) -> dict[Run, list[_Item]]:
    """Excerpts of different held-out pieces, for each run of the groups that it was trained on."""
    runs_of_groups: dict[tuple[str, ...], list[Run]] = {}
    for run in counts:
        runs_of_groups.setdefault(tuple(run.read_config().data.groups), []).append(run)
    pieces: dict[Run, list[_Item]] = {}
    for groups, runs in runs_of_groups.items():
        drawn = {item.origin.piece for items in pieces.values() for item in items}
        items = iter(_read_pieces(runs[0], groups, sum(counts[run] for run in runs), steps, seed, drawn))
        pieces |= {run: [next(items) for _ in range(counts[run])] for run in runs}
    return pieces


def _read_pieces(run: Run, groups: Sequence[str], count: int, steps: int, seed: int, drawn: Collection[str]) -> list[_Item]:
    """Excerpts of the test split of the store of a run, or of the valid split if there is no test split, without some pieces."""
    with run.open_store() as store:
        for split in (Split.TEST, Split.VALID):
            excerpts = held_out_excerpts(store, split, count + len(drawn), steps, seed, groups)
            if excerpts:
                break
        items = [
            _Item(Origin(CORPUS, entry.piece, entry.first_step), entry.roll) for entry in excerpts if entry.piece not in drawn
        ]
        if len(items) < count:
            place = f"in the {split.name.lower()} split" + (f" of {', '.join(groups)}" if groups else "")
            raise UsageError(
                f"{store.path} has {counted(len(items), 'piece')} {place}, and the listening test needs {count}: give a smaller "
                "--listening-test"
            )
    return items[:count]


def _assemble(items: Mapping[str, _Item], seed: int, mode: Mode) -> ListeningTest:
    """The test of items by identifier, in the order of the page."""
    origins = {identifier: item.origin for identifier, item in items.items()}
    rolls = {identifier: encode_roll(_without_bars(item.roll)) for identifier, item in items.items()}
    digest = hashlib.sha256(repr((origins, rolls)).encode(errors="backslashreplace")).hexdigest()
    return ListeningTest(Key(f"{mode}-test-{digest[:12]}", seed, origins, mode), rolls)


def _without_bars(roll: Roll) -> Roll:
    """The same notes in equal bars: pickups and changes of the meter would show which excerpts are from pieces."""
    return replace(roll, bar_position=equal_bars(len(roll), 4 * roll.steps_per_quarter))


def _draw_identifiers(generator: random.Random, num: int) -> list[str]:
    """Different identifiers of letters only, which spreadsheets do not take for numbers."""
    identifiers: dict[str, None] = {}
    while len(identifiers) < num:
        identifiers["".join(generator.choices(string.ascii_lowercase, k=_ID_LETTERS))] = None
    return list(identifiers)
