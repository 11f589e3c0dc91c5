"""The quickstart, as a user runs it."""

import gzip
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tutorials" / "01_quickstart.py"
MNIST = ROOT.parent / "shared" / "data" / "mnist_t10k.npz"


@pytest.fixture(scope="module")
def tutorial():
    spec = importlib.util.spec_from_file_location("quickstart", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments):
    # Passive waiting: threads that spin for each other make a busy machine several times slower.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def assert_explains(result, figure):
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    for method in ("LRP", "Integrated Gradients", "Guided Backprop"):
        assert re.search(rf"^{method} +\d\.\d+ +\d+\.\d+ +[\d.]+% +[\d.]+%$", result.stdout, re.MULTILINE)
    path = Path(re.search(r"^The figure is in (.*)$", result.stdout, re.MULTILINE)[1])
    assert path == figure
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = matplotlib.image.imread(path)
    assert min(pixels.shape[:2]) > 500
    assert pixels.std() > 0.1


def test_it_explains_digits_in_one_command(tmp_path):
    figure = tmp_path / "new" / "digits.png"
    assert_explains(run("--fast", "--output", figure), figure)


def test_it_explains_mnist(tmp_path):
    if not MNIST.exists():
        pytest.skip(f"no MNIST at {MNIST}")
    figure = tmp_path / "mnist.png"
    assert_explains(run("--fast", "--mnist", MNIST, "--output", figure), figure)


def test_a_wrong_path_is_a_clear_error(tutorial):
    with pytest.raises(SystemExit, match=r"there is nothing at no/such\. Give torchvision's folder of MNIST, or an"):
        tutorial.main(["--mnist", "no/such"])


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "gzipped"])
def test_it_reads_the_folder_of_torchvision(tutorial, tmp_path, compress):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    written = {}
    for name, count in (("train", 30), ("t10k", 20)):
        images = numbers.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        written[name] = images, labels
        for kind, header, array in (("images-idx3", 16, images), ("labels-idx1", 8, labels)):
            content = bytes(header) + array.tobytes()
            suffix = ".gz" if compress else ""
            (raw / f"{name}-{kind}-ubyte{suffix}").write_bytes(gzip.compress(content) if compress else content)
    digits = tutorial.mnist(tmp_path)
    assert digits.train_images.shape == (30, 1, 32, 32)
    assert digits.test_labels.tolist() == written["t10k"][1].tolist()
    assert abs(digits.train_images.mean()) < 1e-5
    inner = digits.test_images[:, 0, 2:-2, 2:-2].numpy()
    assert np.corrcoef(inner.ravel(), written["t10k"][0].ravel())[0, 1] > 0.9999


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, "is no .npz file with the arrays images and labels"),
        ({"images": np.zeros((9, 28, 28), np.uint8), "labels": np.zeros(9, np.uint8)}, "holds 9 images"),
    ],
    ids=["other arrays", "too few"],
)
def test_an_npz_without_mnist_is_a_clear_error(tutorial, tmp_path, arrays, message):
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(SystemExit, match=message):
        tutorial.mnist(tmp_path / "file.npz")


def test_a_folder_without_mnist_is_a_clear_error(tutorial, tmp_path):
    with pytest.raises(SystemExit, match=r"holds no train-images-idx3-ubyte\. torchvision stores it in MNIST/raw\."):
        tutorial.mnist(tmp_path)


def test_without_scikit_learn_it_says_what_to_install(tutorial, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(SystemExit, match=r'pip install -e "\.\[tutorials\]"'):
        tutorial.sklearn_digits()


def test_too_few_draws_for_the_percentiles_are_refused(tutorial, capsys):
    with pytest.raises(SystemExit):
        tutorial.parse(["--draws", "19"])
    assert "--draws is 20 or more, got 19" in capsys.readouterr().err
