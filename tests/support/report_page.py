"""A report in a browser, opened from disk."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@contextmanager
def opened_report(browser: "Browser", report: Path) -> "Iterator[Page]":
    """The page of a report; at the end, its console must be empty, and no other file must have been requested."""
    messages: list[str] = []
    requests: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    yield page
    assert messages == []
    assert requests == [report.as_uri()]
    page.close()
