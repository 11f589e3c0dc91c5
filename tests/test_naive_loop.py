"""The benchmark that the README quotes: the naive loop is wrong, and we are not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
METHODS = {
    "IntegratedGradients",
    "GradientShap",
    "GradientShap, 20 samples",
    "Occlusion",
    "FeatureAblation",
    "DeepLift",
    "LRP",
    "Saliency",
}


@pytest.fixture(scope="module")
def printed():
    # Passive waiting: threads that spin for each other make a busy machine several times slower.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, str(ROOT / "benchmarks" / "naive_loop.py"), "--fast"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def spreads(printed):
    """Naive and our spread of each method, over the true one."""
    rows = re.findall(r"^(\S.*?) +(\d+\.\d\d) +(\d+\.\d\d)$", printed, re.MULTILINE)
    return {name: (float(naive), float(ours)) for name, naive, ours in rows}


def test_our_spread_is_that_of_fixed_networks_for_every_method(spreads):
    assert {name: ours for name, (_, ours) in spreads.items()} == dict.fromkeys(METHODS, 1.0)


def test_the_naive_loop_averages_the_spread_of_integrated_gradients_away(spreads):
    assert spreads["IntegratedGradients"][0] < 0.6


def test_the_naive_loop_takes_other_masks_for_other_pixels(spreads):
    assert spreads["Occlusion"][0] > 2
    assert spreads["FeatureAblation"][0] > 2


@pytest.mark.parametrize("method", ["DeepLift", "LRP"])
def test_only_fixed_networks_conserve(printed, method):
    naive, ours = map(float, re.search(rf"^{method}.*worst delta +(\S+) +(\S+)$", printed, re.MULTILINE).groups())
    assert naive > 0.1
    assert ours < 1e-4


def test_relevance_of_fixed_networks_sums_to_the_output(printed):
    low, high = map(float, re.search(r"relevance over output .* (\S+) to (\S+)$", printed, re.MULTILINE).groups())
    assert (low, high) == (1.0, 1.0)
