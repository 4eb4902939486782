"""A slow, independent implementation of MIDI to rolls, and an encoder and decoder of MIDI files: the reference of the tests.

The implementation follows the specification sentence by sentence with dictionaries and fractions, and imports nothing from the
package. A track is a list of (tick, event); an event is one of

    ("on", channel, key)   ("off", channel, key)   ("tempo", tempo_us)      events that decide the roll
    ("meter", numerator, power)                                             a time signature over 2**power
    ("voice", status, data)   ("sysex", data)                               controllers, programs and GS messages, and others
    ("meta", type, data)                                                    events that must not change the roll
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

ONSET, HOLD = 1, 2
COUNTS = (
    *("notes", "notes_out_of_range", "notes_drum", "notes_program", "notes_lost", "notes_merged", "notes_unreleased"),
    *("tempo_seen", "tempo_kept", "notes_silent"),
)

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
    programs: tuple[int, ...] | None = None
    sustain: bool = False


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
    channels, pedals = (ordered_channel_events(tracks, are_pedals=are_pedals) for are_pedals in (False, True))
    for index, track in enumerate(tracks):
        for (channel, note), stream in streams_of(index, track).items():
            reasons = {place: drop_reason(place, channel, note, channels, options) for place, kind in stream if kind == "on"}
            counts.update(reason for reason in reasons.values() if reason)
            kept = [(place[0], kind) for place, kind in stream if kind == "off" or not reasons[place]]
            num_ons = sum(kind == "on" for _, kind in kept)
            if not num_ons:
                continue
            closes = {tick for tick, event in track if is_notes_off(event, channel)}
            reading = sounding_spans(kept, closes)
            onsets.update((step(tick), note - 21) for tick, kind in kept if kind == "on")
            held = []
            for release in reading.releases if options.sustain else []:
                later_ons = [tick for tick, kind in kept if kind == "on" and tick > release]
                held.append((release, min([hold_end(release, channel, pedals, max(end_ticks)), *later_ons])))
            for start, end in [*reading.spans, *held]:
                holds.update((between, note - 21) for between in range(step(start), step(end)))
            counts["notes_merged"] += num_ons
            counts["notes_unreleased"] += reading.is_unreleased
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


Place = tuple[int, int, int]  # tick, track, and position in the track: the order of the events of a file


def ordered_channel_events(tracks: list[Track], *, are_pedals: bool) -> list[tuple[Place, Event]]:
    """The pedal events of all tracks, or the other voice and system exclusive events, in order."""
    return sorted(
        ((tick, index, order), event)
        for index, track in enumerate(tracks)
        for order, (tick, event) in enumerate(track)
        if event[0] in ("voice", "sysex") and is_pedal(event) == are_pedals
    )


def is_pedal(event: Event) -> bool:
    """Whether an event is a sustain pedal (controller 64)."""
    return bool(event[0] == "voice" and event[1] >> 4 == 0xB and event[2][0] == 64)


def streams_of(index: int, track: Track) -> dict[tuple[int, int], list[tuple[Place, str]]]:
    """The place, and "on" or "off", of the note events of each channel and key."""
    streams: defaultdict[tuple[int, int], list[tuple[Place, str]]] = defaultdict(list)
    for order, (tick, event) in enumerate(track):
        if event[0] in ("on", "off"):
            kind, channel, note = event
            streams[channel, note].append(((tick, index, order), kind))
    return streams


def drop_reason(place: Place, channel: int, note: int, channels: list[tuple[Place, Event]], options: Options) -> str:
    """The count that a dropped note-on adds to, '' if the note-on is kept."""
    is_drum, program = channel_state(place, channel, channels)
    if is_drum:
        return "notes_drum"
    if options.programs is not None and program not in options.programs:
        return "notes_program"
    return "" if 21 <= note <= 108 else "notes_out_of_range"


def channel_state(place: Place, channel: int, channels: list[tuple[Place, Event]]) -> tuple[bool, int]:
    """Whether a channel is percussion at a place, and its program."""
    bank = program = 0
    by_bank, is_drum = False, channel == 9
    for _, event in (earlier for earlier in channels if earlier[0] < place):
        match event:
            case ("voice", int(status), bytes(data)) if status == 0xB0 | channel and data[0] == 0:
                bank = data[1]
            case ("voice", int(status), bytes(data)) if status == 0xC0 | channel:
                program = data[0]
                if bank in (120, 127):
                    is_drum = by_bank = True
                elif by_bank and channel != 9:
                    is_drum = by_bank = False
            case ("sysex", bytes(data)) if rhythm_channel(data) == channel:
                is_drum, by_bank = data[7] != 0, False
    return is_drum, program


def rhythm_channel(data: bytes) -> int | None:
    """The channel of a GS message "use for rhythm part"; None if the data is another message."""
    if len(data) < 8 or (data[0], *data[2:5], data[5] >> 4, data[6]) != (0x41, 0x42, 0x12, 0x40, 1, 0x15):
        return None
    return [9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15][data[5] & 15]


def is_notes_off(event: Event, channel: int) -> bool:
    """Whether an event is All Notes Off or All Sound Off of a channel."""
    return event[0] == "voice" and event[1] == 0xB0 | channel and event[2][0] in (120, 123)


def hold_end(tick: int, channel: int, events: list[tuple[Place, Event]], end_tick: int) -> int:
    """The tick up to which the pedal holds a note that is released at a tick."""
    pedals = [(place[0], event[2][1] >= 64) for place, event in events if event[1] == 0xB0 | channel]
    is_down_after = dict(pedals)  # the last event of a tick counts
    if [is_down for at, is_down in pedals if at <= tick][-1:] != [True]:
        return tick
    return min((at for at, is_down in is_down_after.items() if at > tick and not is_down), default=end_tick)


@dataclass(frozen=True)
class Reading:
    """The (start, end) ticks between which a stream sounds, the ticks at which it is released, and whether it never is."""

    spans: list[tuple[int, int]]
    releases: list[int]
    is_unreleased: bool


def sounding_spans(stream: list[tuple[int, str]], closes: set[int]) -> Reading:
    """Reads a stream; `closes` are the ticks of All Notes Off."""
    kinds: defaultdict[int, list[str]] = defaultdict(list)
    for tick, kind in stream:
        kinds[tick].append(kind)
    ticks = sorted({*kinds, *closes})

    def closed(tick: int, depth: int) -> int:
        return min(depth, kinds[tick].count("on")) if tick in closes else depth

    depths = [0]
    for tick in ticks:
        depths.append(closed(tick, max(0, depths[-1] + kinds[tick].count("on") - kinds[tick].count("off"))))
    if depths[-1] > 0:
        # The second reading, from the last tick at which the depth rose from 0: any note-off ends the note.
        rise = max(i for i in range(len(ticks)) if depths[i] == 0 and depths[i + 1] > 0)
        depths = depths[: rise + 1]
        for tick in ticks[rise:]:
            is_open = depths[-1]
            if set(kinds[tick]) == {"on"}:
                is_open = 1
            if set(kinds[tick]) == {"off"}:
                is_open = 0
            depths.append(closed(tick, is_open))
    after = dict(zip(ticks, depths[1:], strict=True))
    before = dict(zip(ticks, depths[:-1], strict=True))
    spans = [(start, end) for start, end in pairwise(ticks) if after[start] > 0]
    releases = [tick for tick in ticks if after[tick] == 0 and (before[tick] > 0 or "on" in kinds[tick])]
    return Reading(spans, releases, depths[-1] > 0)


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
    """The events of a track that can change the roll, and its end tick."""
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
            if first == 0xF0:
                track.append((tick, ("sysex", payload)))
            if kind == 0x58 and len(payload) >= 2:
                track.append((tick, ("meter", payload[0], payload[1])))
            continue
        status, key = (first, next(source)) if first >= 0x80 else (status, first)
        velocity = 0 if status >> 4 in (0xC, 0xD) else next(source)
        if status >> 4 in (0xB, 0xC):
            track.append((tick, ("voice", status, bytes([key] if status >> 4 == 0xC else [key, velocity]))))
        if status >> 4 in (8, 9):
            track.append((tick, ("on" if status >> 4 == 9 and velocity else "off", status & 15, key)))
    return track, tick
