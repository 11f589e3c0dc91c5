"""The pages of the documentation: their code runs from top to bottom and prints what they say it prints.

A ``python`` block followed by a ``text`` block promises that output; an exception is its name and its message, and
warnings are errors. Line breaks and spaces do not count. ``python tests/pages.py docs/PAGE.md ...`` writes the outputs
of today into pages.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ADDRESS = re.compile(r"0x[0-9a-f.]+")
_WIDTH = 100


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and where in the page that text is."""

    language: str
    text: str
    start: int
    end: int


def blocks(page: Path, language: str | None = None) -> list[Block]:
    """The fenced blocks of a page, of one language or of all."""
    found = [Block(match[1], match[2], *match.span(2)) for match in _FENCE.finditer(page.read_text())]
    return [block for block in found if language in (None, block.language)]


def given() -> dict[str, Any]:
    """What a reader of the README brings along: a network, images, labels, an ensemble."""
    from networks import Convolutional

    torch.manual_seed(0)
    model, images, labels = Convolutional().eval(), torch.randn(4, 2, 6, 6), torch.tensor([0, 1, 2, 0])
    members = [Convolutional().eval() for _ in range(3)]
    return {"torch": torch, "model": model, "images": images, "labels": labels, "members": members}


def promises(page: Path, names: dict[str, Any]) -> Iterator[tuple[Block, str, Block | None]]:
    """Runs the page: every block of code, what it gave, and the block that promises it, if there is one."""
    text, every = page.read_text(), [*blocks(page), None]
    for block, after in itertools.pairwise(every):
        if block.language == "python" and not block.text.startswith(">>>"):
            promise = after if after is not None and _promises(text, block, after) else None
            yield block, _output(page, text, block, names, catch=promise is not None), promise


def _promises(text: str, block: Block, after: Block) -> bool:
    """Whether a block is the output of the one before it: no word stands between them."""
    return after.language == "text" and text[block.end : after.start].split() == ["```", "```text"]


def _output(page: Path, text: str, block: Block, names: dict[str, Any], catch: bool) -> str:
    """What a block prints, and the exception that ends it where one is promised."""
    printed, before = io.StringIO(), text[: block.start].count("\n")
    code = compile("\n" * before + block.text, str(page), "exec")  # a traceback names the line of the page
    with contextlib.redirect_stdout(printed):
        try:
            exec(code, names)
        except Exception as error:
            if not catch:
                raise
            printed.write(f"{type(error).__name__}: {error}\n")
    return printed.getvalue()


def same(one: str, other: str) -> bool:
    """Equal but for line breaks, spaces, and where in memory an object lies."""
    return _ADDRESS.sub("0x...", one).split() == _ADDRESS.sub("0x...", other).split()


def run(page: Path, names: dict[str, Any] | None = None) -> int:
    """Runs a page and compares what it prints with what it promises; returns the number of blocks."""
    count = 0
    for block, printed, promise in promises(page, {} if names is None else names):
        line = page.read_text()[: block.start].count("\n")
        assert promise is None or same(printed, promise.text), f"{page}:{line} now gives\n{printed}"
        count += 1
    return count


def rewrite(page: Path) -> None:
    """Writes the outputs of today into a page."""
    text = page.read_text()
    for _, printed, promise in reversed([*promises(page, given())]):
        if promise is not None and not same(printed, promise.text):
            printed = _ADDRESS.sub("0x...", printed)
            lines = [textwrap.fill(line, _WIDTH, break_long_words=False) for line in printed.splitlines()]
            text = text[: promise.start] + "\n".join(lines) + "\n" + text[promise.end :]
    page.write_text(text)


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "Input Tensor \\d+ did not already require gradients")
    warnings.filterwarnings("ignore", "Setting (forward, )?backward hooks")
    for name in sys.argv[1:]:
        rewrite(Path(name))
