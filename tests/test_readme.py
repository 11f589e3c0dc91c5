"""The README's code runs, in order, and its two commands stay as simple as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from networks import Convolutional

README = Path(__file__).parents[1] / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not part of the installed package")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_code_of_the_readme_runs_from_top_to_bottom() -> None:
    torch.manual_seed(0)
    model, images, labels = Convolutional().eval(), torch.randn(4, 2, 6, 6), torch.tensor([0, 1, 2, 0])
    members = [Convolutional().eval() for _ in range(3)]
    names = {"torch": torch, "model": model, "images": images, "labels": labels, "members": members}
    for code in blocks("python"):
        exec(compile(code, str(README), "exec"), names)


def test_the_two_commands_are_as_simple_as_promised() -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
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
