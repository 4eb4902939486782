"""A slow, independent implementation of MIDI to rolls, and an encoder and decoder of MIDI files: the reference of the tests.

The implementation follows the specification sentence by sentence with dictionaries and fractions, and imports nothing from the
package. A track is a list of (tick, event); an event is one of

    ("on", channel, key)   ("off", channel, key)   ("tempo", tempo_us)      events that decide the roll
    ("meter", numerator, power)                                             a time signature over 2**power
    ("meta", type, data)   ("sysex", data)   ("voice", status, data)        events that must not change the roll
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

ONSET, HOLD = 1, 2
COUNTS = ("notes", "notes_out_of_range", "notes_drum", "notes_merged", "notes_unreleased", "tempo_seen", "tempo_kept")

Event = tuple[Any, ...]
Track = list[tuple[int, Event]]


@dataclass(frozen=True)
class ExpectedRoll:
    """The roll that a file must give; `cells` is empty if the file has no notes.

    Attributes:
        cells: (step from the start of the file, key 0..87) to ONSET or HOLD.
        tempo_us: one per step.
        bar_position: one per step.
        first_step: the number of steps that are trimmed from the start.
        counts: the fields of `Counts`.
    """

    cells: dict[tuple[int, int], int]
    tempo_us: list[int]
    bar_position: list[int]
    first_step: int
    counts: dict[str, int]


@dataclass(frozen=True)
class Options:
    """The options of `pianogen.midi.options.ReadOptions` that change the roll."""

    keep_rests: bool = False
    steps_per_quarter: int = 4


def step_of(tick: int, ticks_per_quarter: int, steps_per_quarter: int) -> int:
    """The nearest step, exact halves down."""
    exact = Fraction(steps_per_quarter * tick, ticks_per_quarter)
    below = math.floor(exact)
    return below if exact - below <= Fraction(1, 2) else below + 1


def expected_roll(
    ticks_per_quarter: int, tracks: list[Track], end_ticks: list[int], options: Options = Options()
) -> ExpectedRoll:
    """The roll of a file with these tracks."""

    def step(tick: int) -> int:
        return step_of(tick, ticks_per_quarter, options.steps_per_quarter)

    onsets: set[tuple[int, int]] = set()
    holds: set[tuple[int, int]] = set()
    counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
    for track in tracks:
        for (channel, note), stream in streams_of(track).items():
            num_ons = sum(kind == "on" for _, kind in stream)
            if channel == 9:
                counts["notes_drum"] += num_ons
                continue
            if not 21 <= note <= 108:
                counts["notes_out_of_range"] += num_ons
                continue
            spans, is_unreleased = sounding_spans(stream)
            onsets.update((step(tick), note - 21) for tick, kind in stream if kind == "on")
            for start, end in spans:
                holds.update((held, note - 21) for held in range(step(start), step(end)))
            counts["notes_merged"] += num_ons
            counts["notes_unreleased"] += is_unreleased
    cells = dict.fromkeys(holds, HOLD) | dict.fromkeys(onsets, ONSET)
    counts["notes"] = len(onsets)
    counts["notes_merged"] -= len(onsets)
    if not cells:
        return ExpectedRoll({}, [], [], 0, dict(counts))
    first, stop = min(cells)[0], max(cells)[0] + 1
    if options.keep_rests:
        first, stop = 0, max(stop, step(max(end_ticks)))
    tempos = tempos_of(tracks)
    in_force = [last_tempo(tempos, Fraction(s * ticks_per_quarter, options.steps_per_quarter)) for s in range(first, stop)]
    counts["tempo_seen"] = len(tempos)
    counts["tempo_kept"] = len({tempo for tempo in in_force if tempo is not None})
    tempo_us = [500_000 if tempo is None else tempo[-1] for tempo in in_force]
    meters = [(step(tick), bar) for tick, bar in bars_of(tracks, options.steps_per_quarter)]
    bar_position = [position_in_bar(meters, s) for s in range(first, stop)]
    return ExpectedRoll(cells, tempo_us, bar_position, first, dict(counts))


def streams_of(track: Track) -> dict[tuple[int, int], list[tuple[int, str]]]:
    """(tick, "on" or "off") of the note events of each channel and key."""
    streams: defaultdict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
    for tick, event in track:
        if event[0] in ("on", "off"):
            kind, channel, note = event
            streams[channel, note].append((tick, kind))
    return streams


def sounding_spans(stream: list[tuple[int, str]]) -> tuple[list[tuple[int, int]], bool]:
    """The (start, end) ticks between which a stream sounds, and whether no note-off ends its last note."""
    kinds: defaultdict[int, list[str]] = defaultdict(list)
    for tick, kind in stream:
        kinds[tick].append(kind)
    ticks = sorted(kinds)

    depth = 0
    depths: list[int] = []
    for tick in ticks:
        depth = max(0, depth + kinds[tick].count("on") - kinds[tick].count("off"))
        depths.append(depth)
    if depth > 0:
        # The second reading: any note-off ends the note.
        is_open = False
        depths = []
        for tick in ticks:
            if set(kinds[tick]) == {"on"}:
                is_open = True
            if set(kinds[tick]) == {"off"}:
                is_open = False
            depths.append(int(is_open))
    spans = [(ticks[i], ticks[i + 1]) for i in range(len(ticks) - 1) if depths[i] > 0]
    return spans, depths[-1] > 0


def tempos_of(tracks: list[Track]) -> list[tuple[int, int, int, int]]:
    """(tick, track, position in the track, tempo) of every tempo event that is not zero, in that order."""
    return sorted(
        (tick, index, order, event[1])
        for index, track in enumerate(tracks)
        for order, (tick, event) in enumerate(track)
        if event[0] == "tempo" and event[1] > 0
    )


def last_tempo(tempos: list[tuple[int, int, int, int]], tick: Fraction) -> tuple[int, int, int, int] | None:
    """The tempo event in force at a tick."""
    earlier = [tempo for tempo in tempos if tempo[0] <= tick]
    return earlier[-1] if earlier else None


def bars_of(tracks: list[Track], steps_per_quarter: int) -> list[tuple[int, int]]:
    """(tick, steps of a bar) of 4/4 and of every time signature with a bar of 1 to 255 steps, in order."""
    signatures = sorted(
        (tick, index, order, Fraction(4 * steps_per_quarter * event[1], 2 ** event[2]))
        for index, track in enumerate(tracks)
        for order, (tick, event) in enumerate(track)
        if event[0] == "meter"
    )
    usable = [(tick, int(bar)) for tick, _, _, bar in signatures if bar.denominator == 1 and 1 <= bar <= 255]
    return [(0, 4 * steps_per_quarter), *usable]


def position_in_bar(meters: list[tuple[int, int]], step: int) -> int:
    """The position in the bar of the last (step, steps of a bar) up to a step."""
    start, bar = [meter for meter in meters if meter[0] <= step][-1]
    return (step - start) % bar


@dataclass(frozen=True)
class Encoding:
    """Variants of the file format that do not change the music."""

    running_status: bool = False
    velocity_zero_offs: bool = False
    end_of_track: bool = True
    after_the_end: bytes = b""
    foreign_chunks: bool = False
    header_extra: bytes = b""
    riff: bool = False


def encode_midi(ticks_per_quarter: int, tracks: list[Track], end_ticks: list[int], encoding: Encoding = Encoding()) -> bytes:
    """A MIDI file of type 1 with these tracks; the events of a track must be ordered by tick."""
    foreign = chunk(b"XFIH", b"\x00\xff\x2f\x00odd") if encoding.foreign_chunks else b""
    header = (
        (1).to_bytes(2, "big") + len(tracks).to_bytes(2, "big") + ticks_per_quarter.to_bytes(2, "big") + encoding.header_extra
    )
    file = chunk(b"MThd", header) + foreign
    for track, end_tick in zip(tracks, end_ticks, strict=True):
        file += chunk(b"MTrk", encode_track(track, end_tick, encoding)) + foreign
    return riff(file) if encoding.riff else file


def encode_track(track: Track, end_tick: int, encoding: Encoding) -> bytes:
    """The content of a track chunk."""
    written: list[bytes] = []
    now, running_status = 0, -1
    for tick, event in track:
        message = encode_event(event, encoding.velocity_zero_offs)
        status = message[0]
        written.append(variable_length(tick - now))
        written.append(message[1:] if encoding.running_status and status == running_status else message)
        now = tick
        if status != 0xFF:  # a meta event keeps the running status, a system exclusive event ends it
            running_status = status if status < 0xF0 else -1
    if encoding.end_of_track:
        written += [variable_length(end_tick - now), b"\xff\x2f\x00", encoding.after_the_end]
    return b"".join(written)


def encode_event(event: Event, velocity_zero_offs: bool) -> bytes:
    """An event with its status byte and without its delta time."""
    match event:
        case ("on", int(channel), int(key)):
            return bytes([0x90 | channel, key, 64])
        case ("off", int(channel), int(key)):
            return bytes([0x90 | channel, key, 0]) if velocity_zero_offs else bytes([0x80 | channel, key, 64])
        case ("tempo", int(tempo_us)):
            return b"\xff\x51\x03" + tempo_us.to_bytes(3, "big")
        case ("meter", int(numerator), int(power)):
            return b"\xff\x58\x04" + bytes([numerator, power, 24, 8])
        case ("meta", int(kind), bytes(data)):
            return bytes([0xFF, kind]) + variable_length(len(data)) + data
        case ("sysex", bytes(data)):
            return b"\xf0" + variable_length(len(data)) + data
        case ("voice", int(status), bytes(data)):
            return bytes([status]) + data
    raise ValueError(event)


def variable_length(value: int) -> bytes:
    """Seven bits per byte, the highest first; the top bit is set in all bytes but the last."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a MIDI file."""
    return name + len(content).to_bytes(4, "big") + content


def riff(file: bytes) -> bytes:
    """A RIFF file with the MIDI file as its data chunk, after another chunk of odd length."""
    content = b"RMID" + b"DISP" + (3).to_bytes(4, "little") + b"abc\x00"
    content += b"data" + len(file).to_bytes(4, "little") + file + b"\x00" * (len(file) % 2)
    return b"RIFF" + len(content).to_bytes(4, "little") + content


def decode_midi(data: bytes) -> tuple[int, list[Track], list[int]]:
    """Ticks per quarter note, tracks and end ticks of a valid MIDI file with a header of six bytes."""
    tracks: list[Track] = []
    end_ticks: list[int] = []
    at = 14
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "big")
        if data[at : at + 4] == b"MTrk":
            track, end_tick = decode_track(data[at + 8 : at + 8 + length])
            tracks.append(track)
            end_ticks.append(end_tick)
        at += 8 + length
    return int.from_bytes(data[12:14], "big"), tracks, end_ticks


def decode_track(content: bytes) -> tuple[Track, int]:
    """The note, tempo and meter events of a track, and its end tick."""
    source = iter(content)
    track: Track = []
    tick = status = 0

    def number() -> int:
        value = 0
        while (byte := next(source)) >= 0x80:
            value = value << 7 | byte & 0x7F
        return value << 7 | byte

    while (delta := number()) >= 0:
        tick += delta
        first = next(source)
        if first >= 0xF0:
            kind = next(source) if first == 0xFF else None
            payload = bytes(next(source) for _ in range(number()))
            if kind == 0x2F:
                break
            if kind == 0x51 and len(payload) == 3:
                track.append((tick, ("tempo", int.from_bytes(payload, "big"))))
            if kind == 0x58 and len(payload) >= 2:
                track.append((tick, ("meter", payload[0], payload[1])))
            continue
        status, key = (first, next(source)) if first >= 0x80 else (status, first)
        velocity = 0 if status >> 4 in (0xC, 0xD) else next(source)
        if status >> 4 in (8, 9):
            track.append((tick, ("on" if status >> 4 == 9 and velocity else "off", status & 15, key)))
    return track, tick
