"""docs/samplers.md runs, and the sampler it shows is short."""

import doctest
import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "samplers.md"


def test_every_example_of_the_page_runs():
    results = doctest.testfile(str(PAGE), module_relative=False)
    assert results.failed == 0
    assert results.attempted > 20


def test_a_sampler_of_your_own_takes_15_lines():
    source = re.search(r">>> class AdditiveNoise.*?BoundWeights\(model, weights\)", PAGE.read_text(), re.S).group()
    code = [line for line in source.splitlines() if line.strip(">. ")]
    assert len(code) <= 15
