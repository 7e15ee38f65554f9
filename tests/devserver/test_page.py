"""docs/devserver.md says what the server and its list of refusals say."""

from __future__ import annotations

import pytest

from tests.devserver import page


def test_the_page_has_the_facts_of_now() -> None:
    """Else: ``python -m tests.devserver.page``."""
    written = page.PAGE.read_text("utf-8")
    assert page.made(written) == written


def test_a_page_that_says_something_else_is_found_and_mended() -> None:
    written = page.PAGE.read_text("utf-8")
    wrong = written.replace("`GREATEST`, ", "").replace("`PIVOT`, ", "")
    assert wrong != written
    assert page.made(wrong) == written


def test_a_page_without_a_place_for_them_is_refused() -> None:
    with pytest.raises(page.NoSuchPart, match="supported"):
        page.made("# The embedded server\n")
