"""The samples of the report in a browser: their rolls are drawn, and a synthesizer plays them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pianogen.roll import HOLD, ONSET, SILENT, Roll, notes
from tests.support.odd_samples import A4, OddSamples, collect_odd_samples
from tests.support.report_page import opened_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

RATE = 24_000  # samples per second of rendered sound
AUDIBLE = 0.01
LATENCY_S = 0.02  # of the attack of a note and the compressor

# Renders a track offline, in steps of half a second like the player, and records the notes.
RENDER = """
async ({ index, from, seconds, rate, stopAt }) => {
  const calls = [];
  const play = Piano.prototype.play;
  Piano.prototype.play = function (...call) { calls.push(call); return play.apply(this, call); };
  const context = new OfflineAudioContext(2, Math.ceil(seconds * rate), rate);
  const playback = new Playback(new Piano(context), tracks[index].roll, from, 0);
  playback.schedule(1);
  for (let time = 0.5; time < seconds; time += 0.5) {
    context.suspend(time).then(() => { playback.schedule(time + 1); context.resume(); });
  }
  if (stopAt) context.suspend(stopAt).then(() => { playback.stop(); playback.schedule = () => {}; context.resume(); });
  const buffer = await context.startRendering();
  Piano.prototype.play = play;
  const bytes = new Uint8Array(Float32Array.from(buffer.getChannelData(0)).buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return { calls, sound: text };
}
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> OddSamples:
    return collect_odd_samples(tmp_path_factory.mktemp("odd"))


@pytest.fixture
def page(odd: OddSamples, browser: "Browser") -> "Iterator[Page]":
    """The report in a browser."""
    with opened_report(browser, odd.report) as page:
        yield page


@pytest.fixture(scope="module")
def idle_page(odd: OddSamples, browser: "Browser") -> "Iterator[Page]":
    """The report in a browser, for tests that do not change its state."""
    with opened_report(browser, odd.report) as page:
        yield page


def track(page: "Page", index: int) -> "Locator":
    return page.locator(".track").nth(index)


def render(
    page: "Page", index: int, seconds: float, start: float = 0, stop: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The (N, 4) notes (key, start, end, skipped seconds) that the page plays, and the (seconds * RATE,) sound."""
    arguments = {"index": index, "from": start, "seconds": seconds, "rate": RATE, "stopAt": stop}
    result = page.evaluate(RENDER, arguments)
    sound = np.frombuffer(result["sound"].encode("latin-1"), np.float32)
    assert np.isfinite(sound).all()
    assert np.abs(sound).max() <= 1
    return np.array(result["calls"]).reshape(-1, 4), sound


def step_times(roll: Roll) -> np.ndarray:
    """(T + 1,) seconds at which each step starts, and at which the last one ends."""
    return np.concatenate([[0], np.cumsum(roll.tempo_us / 1e6 / roll.steps_per_quarter)])


def loudest(sound: np.ndarray, start: float, stop: float) -> float:
    return float(np.abs(sound[int(start * RATE) : int(stop * RATE)]).max())


@pytest.mark.parametrize("name", ["melody", "silence", "single step", "all keys", "waltz", "long", "extreme tempos"])
def test_page_reads_the_rolls(odd: OddSamples, idle_page: "Page", name: str) -> None:
    roll = odd.rolls[name]
    expression = """index => { const { notes, times, tempos, barLines, stepsPerQuarter } = tracks[index].roll;
        return [notes.map(({ onset, end, key }) => [onset, end, key]), [...times], tempos.map(({ step }) => step), barLines,
                stepsPerQuarter]; }"""
    read_notes, times, tempo_steps, bar_lines, steps_per_quarter = idle_page.evaluate(expression, odd.index(name))
    assert read_notes == notes(roll.states).tolist()
    np.testing.assert_allclose(times, step_times(roll), rtol=1e-9)
    assert tempo_steps == np.flatnonzero(np.diff(roll.tempo_us.astype(int), prepend=0)).tolist()
    assert bar_lines == np.flatnonzero(roll.bar_position == 0).tolist()
    assert steps_per_quarter == 4


@pytest.mark.parametrize("name", ["melody", "waltz", "all keys", "single step", "extreme tempos"])
def test_every_note_is_played_at_its_time_and_the_sound_is_not_clipped(odd: OddSamples, idle_page: "Page", name: str) -> None:
    roll = odd.rolls[name]
    times, expected = step_times(roll), notes(roll.states)
    played, sound = render(idle_page, odd.index(name), times[-1] + 1)
    np.testing.assert_array_equal(played[:, 0], expected[:, 2])
    np.testing.assert_allclose(played[:, 1:3], times[expected[:, :2]], atol=1e-9)
    assert not played[:, 3].any()
    first = times[expected[0, 0]]
    assert np.sqrt(np.mean(sound[int(first * RATE) : int(times[-1] * RATE)] ** 2)) > AUDIBLE
    assert loudest(sound, times[-1] + 0.9, times[-1] + 1) < AUDIBLE / 10


def test_figures_of_a_single_note_are_singular(odd: OddSamples, page: "Page") -> None:
    figures = track(page, odd.index("single note")).locator("figcaption").inner_text()
    assert "1 note on 1 key\n" in figures


def test_silent_sample_is_silent(odd: OddSamples, idle_page: "Page") -> None:
    played, sound = render(idle_page, odd.index("silence"), 1)
    assert len(played) == 0
    assert not sound.any()


def test_note_sounds_at_its_pitch_from_its_start_to_its_end(odd: OddSamples, idle_page: "Page") -> None:
    _, sound = render(idle_page, odd.index("single note"), 2.5)
    start, end = 0.5, 1.5
    assert not sound[: int(start * RATE)].any()
    assert loudest(sound, start, start + LATENCY_S) > AUDIBLE
    assert loudest(sound, start, start + 0.1) > 3 * loudest(sound, end - 0.1, end) > 3 * AUDIBLE
    assert loudest(sound, end + 0.5, 2.5) < AUDIBLE / 10
    excerpt = sound[int(start * RATE) : int(end * RATE)]
    spectrum = np.abs(np.fft.rfft(excerpt * np.hanning(len(excerpt))))
    assert np.argmax(spectrum) * RATE / len(excerpt) == pytest.approx(440, abs=2)


def test_playback_from_a_position_skips_earlier_notes_and_continues_those_that_sound(odd: OddSamples, idle_page: "Page") -> None:
    times = step_times(odd.rolls["melody"])
    played, _ = render(idle_page, odd.index("melody"), 2, start=times[3])
    np.testing.assert_allclose(played, [[A4, times[s] - times[3], times[s + 1] - times[3], 0] for s in (4, 6, 8, 10)], atol=1e-9)
    played, sound = render(idle_page, odd.index("single note"), 1, start=1)
    np.testing.assert_allclose(played, [[A4, 0, 0.5, 0.5]])
    assert loudest(sound, 0, LATENCY_S) > AUDIBLE


def test_stop_silences_notes_that_sound_and_notes_that_are_scheduled(odd: OddSamples, idle_page: "Page") -> None:
    played, sound = render(idle_page, odd.index("all keys"), 4, stop=1.7)
    assert played[:, 1].max() > 2
    assert loudest(sound, 1.5, 1.7) > AUDIBLE
    assert loudest(sound, 1.9, 4) < AUDIBLE / 10


def state(page: "Page") -> dict[str, Any]:
    values: dict[str, Any] = page.evaluate(
        "() => ({ track: tracks.indexOf(player.track), isPlaying: player.isPlaying, position: player.position })"
    )
    return values


def wait_until(page: "Page", expression: str) -> None:
    page.wait_for_function(f"() => {expression}", timeout=20_000)


def test_button_plays_and_pauses(odd: OddSamples, page: "Page") -> None:
    index = odd.index("waltz")
    button = track(page, index).get_by_role("button")
    name = track(page, index).get_attribute("aria-label") or ""
    assert name.endswith("/samples-odd-0005.mid")
    assert button.get_attribute("aria-label") == f"Play {name}"
    button.click()
    assert page.get_by_role("status").inner_text() == f"Playing {name}"
    assert button.get_attribute("aria-label") == f"Pause {name}"
    wait_until(page, "player.position > 0.3")
    assert state(page)["track"] == index
    button.press("Space")
    assert page.get_by_role("status").inner_text() == f"Paused {name}"
    paused = state(page)
    assert not paused["isPlaying"]
    assert paused["position"] > 0.3
    button.click()
    assert state(page)["position"] >= paused["position"]
    page.get_by_role("button", name="Stop").click()
    assert page.get_by_role("status").inner_text() == "Stopped"
    assert state(page) == {"track": index, "isPlaying": False, "position": 0}


def test_stopped_player_is_silent(odd: OddSamples, page: "Page") -> None:
    page.evaluate(
        """() => {
          const connect = AudioNode.prototype.connect;
          AudioNode.prototype.connect = function (target, ...rest) {
            if (target === this.context.destination) {
              window.analyser = new AnalyserNode(this.context, { fftSize: 4096 });
              connect.call(this, window.analyser);
            }
            return connect.call(this, target, ...rest);
          };
          window.level = () => {
            const sound = new Float32Array(4096);
            window.analyser.getFloatTimeDomainData(sound);
            return Math.max(...sound.map(Math.abs));
          };
        }"""
    )
    track(page, odd.index("waltz")).get_by_role("button").click()
    wait_until(page, f"level() > {AUDIBLE}")
    page.keyboard.press("Escape")
    wait_until(page, "level() < 1e-4")
    page.wait_for_timeout(300)
    assert page.evaluate("level()") < 1e-4
    assert not state(page)["isPlaying"]


def test_keys_on_a_roll_seek_and_play(odd: OddSamples, page: "Page") -> None:
    index = odd.index("waltz")  # bar lines at steps 4, 16, 28, …
    times = step_times(odd.rolls["waltz"])
    slider = track(page, index).get_by_role("slider")
    slider.focus()
    steps = {"ArrowRight": 4, "ArrowUp": 8, "ArrowLeft": 4, "PageUp": 16, "PageDown": 4, "End": 120, "Home": 0, "ArrowDown": 0}
    for key, step in steps.items():
        page.keyboard.press(key)
        assert state(page) == {"track": index, "isPlaying": False, "position": pytest.approx(times[step])}
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    assert slider.get_attribute("aria-valuenow") == str(int(times[16]))
    assert (slider.get_attribute("aria-valuetext") or "").endswith(", bar 2")
    assert slider.get_attribute("aria-valuemax") == str(int(np.ceil(times[-1])))
    page.keyboard.press("Space")
    wait_until(page, f"player.position > {times[16] + 0.2}")
    page.keyboard.press("Home")
    playing = state(page)
    assert playing["isPlaying"]
    assert playing["position"] < times[16]
    page.keyboard.press("End")
    wait_until(page, "!player.isPlaying")
    assert state(page)["position"] == 0


def test_click_on_a_roll_seeks(odd: OddSamples, page: "Page") -> None:
    times = step_times(odd.rolls["waltz"])
    index = odd.index("waltz")
    slider = track(page, index).get_by_role("slider")
    left = page.evaluate("LEFT_PX")
    step_px = page.evaluate("index => (tracks[index].slider.clientWidth - LEFT_PX - MARGIN_PX) / 120", index)
    slider.click(position={"x": left + 60.5 * step_px, "y": 50})
    assert state(page) == {"track": index, "isPlaying": False, "position": pytest.approx(times[60:62].mean(), abs=0.05)}
    track(page, odd.index("melody")).get_by_role("button").click()
    slider.click(position={"x": left + 2, "y": 50})
    moved = state(page)
    assert (moved["track"], moved["isPlaying"]) == (index, True)


def test_play_all_plays_samples_in_order_and_skips_silent_ones(odd: OddSamples, page: "Page") -> None:
    page.get_by_role("button", name="Play all samples of").nth(1).click()
    order = [state(page)["track"]]
    for _ in range(2):
        wait_until(page, f"tracks.indexOf(player.track) !== {order[-1]}")
        order.append(state(page)["track"])
    assert order == [odd.index(name) for name in ("melody", "single note", "single step")]
    page.get_by_role("button", name="Play all", exact=True).click()
    assert state(page)["track"] == 1  # the first sample of the page is silent
    page.get_by_role("button", name="Stop").click()
    assert not state(page)["isPlaying"]


def test_volume_changes_the_gain_before_and_during_playback(odd: OddSamples, page: "Page") -> None:
    page.evaluate(
        "() => { const { play } = Piano.prototype; Piano.prototype.play = function (...call) { window.piano = this; "
        "return play.apply(this, call); }; }"
    )
    volume = page.get_by_role("slider", name="Volume")
    volume.fill("50")
    track(page, odd.index("waltz")).get_by_role("button").click()
    assert page.evaluate("piano.volume.gain.value") == pytest.approx(0.25)
    volume.fill("0")
    wait_until(page, "piano.volume.gain.value < 1e-4")


def drawn_colors(page: "Page", index: int, num_steps: int) -> np.ndarray:
    """(T, 88) names in the palette of the colors of the cells of a roll that is completely visible."""
    cells = np.argwhere(np.ones((num_steps, 88))).tolist()
    expression = """([index, cells]) => {
      const canvas = tracks[index].slider.querySelector("canvas");
      const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const stepPx = (width - LEFT_PX - MARGIN_PX) / tracks[index].roll.numSteps;
      const names = Object.fromEntries(Object.entries(RollView.palette).map(([name, color]) => [color, name]));
      return cells.map(([step, key]) => {
        const pixel = width * (keyTop(key) + 1) + Math.round(LEFT_PX + (step + 0.5) * stepPx);
        const channels = [...data.slice(4 * pixel, 4 * pixel + 3)].map((value) => value.toString(16).padStart(2, "0"));
        return names["#" + channels.join("")];
      });
    }"""
    return np.array(page.evaluate(expression, [index, cells])).reshape(num_steps, 88)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_rolls_are_drawn_in_the_colors_of_the_scheme(odd: OddSamples, page: "Page", scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    index = odd.index("waltz")
    track(page, index).scroll_into_view_if_needed()
    states = odd.rolls["waltz"].states
    wait_until(page, f"tracks[{index}].view.element.querySelector('canvas').width > 300")
    colors = drawn_colors(page, index, len(states))
    assert set(colors[states == ONSET]) == {"onset"}
    assert set(colors[states == HOLD]) == {"hold"}
    assert set(colors[states == SILENT]) == {"background", "black-key"}
    background = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    drawn = page.evaluate("RollView.palette.background")
    assert [int(drawn[i : i + 2], 16) for i in (1, 3, 5)] == background


def test_only_rolls_close_to_the_window_are_drawn_and_all_are_printed(odd: OddSamples, page: "Page") -> None:
    sizes = "() => tracks.map(({ slider }) => slider.querySelector('canvas').width)"
    page.set_viewport_size({"width": 1000, "height": 400})
    last = odd.index("extreme tempos")
    track(page, last).scroll_into_view_if_needed()
    wait_until(page, f"drawn.has(tracks[{last}]) && !drawn.has(tracks[0])")
    widths = page.evaluate(sizes)
    assert widths[0] == 0
    assert widths[last] > 0
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert min(page.evaluate(sizes)) > 0
    long = track(page, odd.index("long")).get_by_role("slider")
    assert long.evaluate("element => element.scrollWidth === element.clientWidth")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(sizes) == widths


def test_zoom_widens_rolls_and_keeps_their_middle(odd: OddSamples, page: "Page") -> None:
    index = odd.index("long")
    slider = track(page, index).get_by_role("slider")
    slider.scroll_into_view_if_needed()
    wait_until(page, f"drawn.has(tracks[{index}])")
    assert slider.evaluate("element => element.scrollWidth") == pytest.approx(20_000, abs=100)
    slider.evaluate("element => { element.scrollLeft = 10_000; }")
    middle = "index => { const { slider, view } = tracks[index]; return view.timeAt(slider.clientWidth / 2 + 40); }"
    before = page.evaluate(middle, index)
    page.get_by_role("slider", name="Zoom").fill("4")
    assert slider.evaluate("element => element.scrollWidth") == pytest.approx(80_000, abs=100)
    assert page.evaluate(middle, index) == pytest.approx(before, abs=10)


def test_roll_scrolls_with_the_playhead_and_not_against_the_user(odd: OddSamples, page: "Page") -> None:
    slider = track(page, odd.index("long")).get_by_role("slider")
    scroll_left = "element => element.scrollLeft"
    slider.focus()
    page.keyboard.press("End")
    assert slider.evaluate(scroll_left) > 18_000
    page.keyboard.press("Home")
    assert slider.evaluate(scroll_left) == 0
    box = slider.bounding_box()
    assert box is not None
    slider.click(position={"x": box["width"] - 12, "y": 50})
    page.keyboard.press("Space")
    page.wait_for_function("element => element.scrollLeft > 1_000", arg=slider.element_handle())
    slider.evaluate("element => { element.scrollLeft = 9_000; }")
    position = state(page)["position"]
    wait_until(page, f"player.position > {position + 0.5}")
    assert slider.evaluate(scroll_left) == 9_000
    page.keyboard.press("ArrowRight")
    assert slider.evaluate(scroll_left) < 3_000


def test_every_control_has_a_name_and_the_order_of_focus_is_that_of_the_page(odd: OddSamples, page: "Page") -> None:
    names = (
        page.locator(".track, .player")
        .locator("button, input, [role=slider]")
        .evaluate_all("all => all.map(element => element.ariaLabel || element.textContent || element.labels[0].textContent)")
    )
    assert all(name.strip() for name in names)
    num_excerpts = page.locator(".corpus-mark").count()
    assert num_excerpts > 0
    assert len(set(names)) == len(names) == 2 * (2 + len(odd.rolls) + num_excerpts) + 4
    track(page, 0).get_by_role("button").focus()
    focused = []
    for _ in range(4):
        focused.append(page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent"))
        page.keyboard.press("Tab")
    first, second = (track(page, index).get_attribute("aria-label") for index in (0, 1))
    assert focused == [f"Play {first}", "0000.mid", f"Position in {first}", f"Play {second}"]


def test_player_says_that_scripts_are_blocked(odd: OddSamples, page: "Page", browser: "Browser") -> None:
    assert page.get_by_role("status").inner_text() == ""
    blocked = browser.new_page(java_script_enabled=False)
    blocked.goto(odd.report.as_uri())
    assert blocked.get_by_role("status").inner_text() == "Loading. Scripts blocked? Open the file from disk."
    blocked.close()


def test_page_has_one_main_landmark_beside_its_header_and_footer(page: "Page") -> None:
    landmarks = page.evaluate("[...document.body.children].filter((child) => !child.hidden).map((child) => child.localName)")
    assert landmarks == ["header", "main", "footer", "section", "script"]
