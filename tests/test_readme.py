"""The README's code runs, in order, and its two commands stay as simple as they are."""

from __future__ import annotations

import re

import pytest

import pages

README = pages.ROOT / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not part of the installed package")


def test_the_code_of_the_readme_runs_from_top_to_bottom() -> None:
    assert pages.run(README, pages.given()) > 5


def test_the_two_commands_are_as_simple_as_promised() -> None:
    commands = [line for block in pages.blocks(README, "sh") for line in block.text.splitlines()]
    assert 'pip install -e ".[tutorials]" && python tutorials/01_quickstart.py' in commands
    assert 'pip install -e ".[test]" && pytest' in commands


def test_every_accessor_is_in_the_table() -> None:
    from captum_uq.distribution.accessors import DrawStatistics

    text = README.read_text()
    for name in vars(DrawStatistics):
        assert name.startswith("_") or f"`{name}(" in text or f"{name}()" in text, name


def test_every_picture_and_page_that_the_readme_links_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
