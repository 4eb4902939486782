"""The page of a listening test: one HTML file with a player, which saves the answers as a CSV file; it needs no network."""

from jobs.listening.draw import ListeningTest
from jobs.report import html

_STYLES = ("report.css", "player.css", "listening.css")
_SCRIPTS = ("roll.js", "piano.js", "playback.js", "player.js", "roll_view.js", "page.js", "listening.js")


def render(test: ListeningTest) -> str:
    """The HTML of the page, which contains the identifiers of the items and nothing of their origins."""
    return html.render("listening.html.jinja", _STYLES, _SCRIPTS, test=test)
