"""A slow, plain reading of MIDI to rolls, and plain bytes of MIDI files: what the tests hold the fast code against.

It follows the contract sentence by sentence with dictionaries and fractions, and shares nothing with the package.
A track is a list of (tick, event); an event is one of

    ("on", channel, key)   ("off", channel, key)   ("tempo", tempo_us)      what the reading looks at
    ("meta", type, data)   ("sysex", data)   ("voice", status, data)        what it must not be disturbed by
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction

ONSET, HOLD = 1, 2
COUNTS = ("notes", "notes_out_of_range", "notes_drum", "notes_merged", "notes_unreleased", "tempo_seen", "tempo_kept")

Event = tuple
Track = list[tuple[int, Event]]


@dataclass(frozen=True)
class Reading:
    """`cells` maps (step from the start of the file, key 0..87) to ONSET or HOLD; a roll without notes has none."""

    cells: dict[tuple[int, int], int]
    tempo_us: list[int]
    first_step: int
    counts: dict[str, int]


def step_of(tick: int, ticks_per_quarter: int) -> int:
    """Nearest step, exact halves down."""
    exact = Fraction(4 * tick, ticks_per_quarter)
    below = math.floor(exact)
    return below if exact - below <= Fraction(1, 2) else below + 1


def read_plainly(ticks_per_quarter: int, tracks: list[Track], end_ticks: list[int], keep_rests: bool = False) -> Reading:
    """The roll of these tracks, cell by cell."""
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
            struck = [step_of(tick, ticks_per_quarter) for tick, kind in stream if kind == "on"]
            spans, is_unreleased = sounding_spans(stream)
            onsets.update((step, note - 21) for step in struck)
            for start, end in spans:
                steps = range(step_of(start, ticks_per_quarter), step_of(end, ticks_per_quarter))
                holds.update((step, note - 21) for step in steps)
            counts["notes_merged"] += num_ons
            counts["notes_unreleased"] += is_unreleased
    cells = dict.fromkeys(holds, HOLD) | dict.fromkeys(onsets, ONSET)
    counts["notes"] = len(onsets)
    counts["notes_merged"] -= len(onsets)
    if not cells:
        return Reading({}, [], 0, dict(counts))
    first, stop = min(cells)[0], max(cells)[0] + 1
    if keep_rests:
        first, stop = 0, max(stop, step_of(max(end_ticks), ticks_per_quarter))
    tempos = tempos_of(tracks)
    in_force = [last_tempo(tempos, step, ticks_per_quarter) for step in range(first, stop)]
    counts["tempo_seen"] = len(tempos)
    counts["tempo_kept"] = len({tempo for tempo in in_force if tempo is not None})
    return Reading(cells, [500_000 if tempo is None else tempo[-1] for tempo in in_force], first, dict(counts))


def streams_of(track: Track) -> dict[tuple[int, int], list[tuple[int, str]]]:
    """The (tick, "on" or "off") of each channel and key."""
    streams = defaultdict(list)
    for tick, event in track:
        if event[0] in ("on", "off"):
            kind, channel, note = event
            streams[channel, note].append((tick, kind))
    return streams


def sounding_spans(stream: list[tuple[int, str]]) -> tuple[list[tuple[int, int]], bool]:
    """The (start, end) ticks between which a stream sounds, and whether its last note is never released."""
    kinds = defaultdict(list)
    for tick, kind in stream:
        kinds[tick].append(kind)
    ticks = sorted(kinds)

    depth, depths = 0, []
    for tick in ticks:
        depth = max(0, depth + kinds[tick].count("on") - kinds[tick].count("off"))
        depths.append(depth)
    if depth > 0:
        # Read again: any note-off closes the key.
        is_open, depths = False, []
        for tick in ticks:
            if set(kinds[tick]) == {"on"}:
                is_open = True
            if set(kinds[tick]) == {"off"}:
                is_open = False
            depths.append(int(is_open))
    spans = [(ticks[i], ticks[i + 1]) for i in range(len(ticks) - 1) if depths[i] > 0]
    return spans, depths[-1] > 0


def tempos_of(tracks: list[Track]) -> list[tuple[int, int, int, int]]:
    """(tick, track, order in the track, tempo) of every Set Tempo that counts, in that order."""
    return sorted(
        (tick, index, order, event[1])
        for index, track in enumerate(tracks)
        for order, (tick, event) in enumerate(track)
        if event[0] == "tempo" and event[1] > 0
    )


def last_tempo(tempos: list[tuple[int, int, int, int]], step: int, ticks_per_quarter: int) -> tuple[int, int, int, int] | None:
    """The one in force at a step."""
    begun = [tempo for tempo in tempos if 4 * tempo[0] <= step * ticks_per_quarter]
    return begun[-1] if begun else None


@dataclass(frozen=True)
class Form:
    """The liberties of the file format that change nothing about the music."""

    running_status: bool = False
    velocity_zero_offs: bool = False
    end_of_track: bool = True
    after_the_end: bytes = b""
    foreign_chunks: bool = False
    header_extra: bytes = b""
    riff: bool = False


def write_plainly(ticks_per_quarter: int, tracks: list[Track], end_ticks: list[int], form: Form = Form()) -> bytes:
    """The bytes of a MIDI file of type 1 with these tracks; the events of each must be in order of tick."""
    foreign = chunk(b"XFIH", b"\x00\xff\x2f\x00odd") if form.foreign_chunks else b""
    header = (1).to_bytes(2, "big") + len(tracks).to_bytes(2, "big") + ticks_per_quarter.to_bytes(2, "big") + form.header_extra
    file = chunk(b"MThd", header) + foreign
    for track, end_tick in zip(tracks, end_ticks, strict=True):
        file += chunk(b"MTrk", track_bytes(track, end_tick, form)) + foreign
    return riff(file) if form.riff else file


def track_bytes(track: Track, end_tick: int, form: Form) -> bytes:
    """What stands inside a track's chunk."""
    written, now, running = [], 0, -1
    for tick, event in track:
        message = event_bytes(event, form.velocity_zero_offs)
        status = message[0]
        written.append(variable_length(tick - now))
        written.append(message[1:] if form.running_status and status == running else message)
        now = tick
        # Running status goes on across a meta, and ends at a sysex.
        running = status if status < 0xF0 else running if status == 0xFF else -1
    if form.end_of_track:
        written += [variable_length(end_tick - now), b"\xff\x2f\x00", form.after_the_end]
    return b"".join(written)


def event_bytes(event: Event, velocity_zero_offs: bool) -> bytes:
    """One event with its status, without its delta time."""
    match event:
        case ("on", channel, key):
            return bytes([0x90 | channel, key, 64])
        case ("off", channel, key):
            return bytes([0x90 | channel, key, 0]) if velocity_zero_offs else bytes([0x80 | channel, key, 64])
        case ("tempo", tempo_us):
            return b"\xff\x51\x03" + tempo_us.to_bytes(3, "big")
        case ("meta", kind, data):
            return bytes([0xFF, kind]) + variable_length(len(data)) + data
        case ("sysex", data):
            return b"\xf0" + variable_length(len(data)) + data
        case ("voice", status, data):
            return bytes([status]) + data
    raise ValueError(event)


def variable_length(value: int) -> bytes:
    """Seven bits a byte, the highest first; all but the last have their top bit set."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a MIDI file."""
    return name + len(content).to_bytes(4, "big") + content


def riff(file: bytes) -> bytes:
    """The file as the data chunk of a RIFF file, behind another chunk of odd length."""
    content = b"RMID" + b"DISP" + (3).to_bytes(4, "little") + b"abc\x00"
    content += b"data" + len(file).to_bytes(4, "little") + file + b"\x00" * (len(file) % 2)
    return b"RIFF" + len(content).to_bytes(4, "little") + content


def parse_plainly(data: bytes) -> tuple[int, list[Track], list[int]]:
    """Ticks per quarter, tracks and end ticks of a sound MIDI file with a header of six bytes."""
    tracks, end_ticks, at = [], [], 14
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "big")
        if data[at : at + 4] == b"MTrk":
            track, end_tick = parse_track(data[at + 8 : at + 8 + length])
            tracks.append(track)
            end_ticks.append(end_tick)
        at += 8 + length
    return int.from_bytes(data[12:14], "big"), tracks, end_ticks


def parse_track(content: bytes) -> tuple[Track, int]:
    """The notes and tempos of a track, and the tick at which it ends."""
    source = iter(content)
    track, tick, status = [], 0, 0

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
            continue
        status, key = (first, next(source)) if first >= 0x80 else (status, first)
        velocity = 0 if status >> 4 in (0xC, 0xD) else next(source)
        if status >> 4 in (8, 9):
            track.append((tick, ("on" if status >> 4 == 9 and velocity else "off", status & 15, key)))
    return track, tick
