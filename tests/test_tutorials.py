"""The tutorials, as a user runs them, and the notebooks made from them."""

import ast
import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "tutorials").glob("[0-9][0-9]_*.py"))
NOTEBOOKS = ROOT / "tutorials" / "notebooks"
DATA = ROOT.parent / "shared" / "data"
NEEDS = {
    "03": ["cifar10_11k.npz"],
    "04": ["california_housing.csv"],
    "05": ["california_housing.csv", "cifar10_11k.npz"],
    "06": ["cifar10_11k.npz"],
    "07": ["imagenet"],
}
"""What a tutorial cannot do without; the others make do with what scikit-learn ships, or make their data up."""
MACHINE = re.compile(r"/(?:home|root|tmp|opt|work|Users|private|mnt)/")

every_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)


def run(script, *arguments, before=()):
    path = os.pathsep.join(map(str, (*before, ROOT)))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    command = [sys.executable, "-W", "error", str(script), "--fast", *map(str, arguments)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not result.stderr
    return result.stdout


def figures(printed):
    return re.findall(r"^figure: (.*\.png)$", printed, re.MULTILINE)


@every_script
def test_it_runs_and_its_claims_hold(script, tmp_path):
    number = script.name[:2]
    if missing := [name for name in NEEDS.get(number, ()) if not (DATA / name).exists()]:
        pytest.skip(f"no {' and no '.join(missing)} in {DATA}")
    if number == "07":
        pytest.importorskip("torchvision", reason="VGG-16 is torchvision's (the peers extra)")
    quickstart = number == "01"  # writes one figure, to a path
    printed = run(script, "--output", tmp_path / "quickstart.png" if quickstart else tmp_path)
    assert "Not run" not in printed
    names = ["quickstart.png"] if quickstart else figures(printed)
    assert len(names) >= (1 if quickstart else 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    for name in names:
        assert matplotlib.image.imread(tmp_path / name).std() > 0.05


@pytest.mark.parametrize("number", sorted(NEEDS))
def test_without_its_data_it_says_what_is_missing(number, tmp_path):
    if number == "07":
        pytest.importorskip("torchvision", reason="VGG-16 is torchvision's (the peers extra)")
    (script,) = (each for each in SCRIPTS if each.name.startswith(number))
    printed = run(script, "--data", tmp_path, "--output", tmp_path / "figures")
    assert re.search(r"^Not run: there is no .* in .*\. Give .*--data", printed, re.MULTILINE)
    assert not figures(printed)


def test_without_mnist_it_takes_scikit_learns_digits(tmp_path):
    (script,) = (each for each in SCRIPTS if each.name.startswith("02"))
    printed = run(script, "--data", tmp_path, "--output", tmp_path / "figures")
    assert "these are scikit-learn's 8 x 8 digits" in printed
    assert len(figures(printed)) == 4


def test_without_torchvision_it_says_what_to_install(tmp_path):
    (tmp_path / "torchvision.py").write_text("raise ImportError('not installed')")
    (script,) = (each for each in SCRIPTS if each.name.startswith("07"))
    printed = run(script, "--output", tmp_path / "figures", before=[tmp_path])
    assert "Not run: VGG-16 is torchvision's, which is not installed: pip install torchvision" in printed


def cells(script):
    """Kind and source of each cell of a percent-format script: read here without jupytext, which made the notebooks."""
    found = []
    for part in re.split(r"^(?=# %%)", script.read_text(), flags=re.MULTILINE)[1:]:
        marker, _, source = part.partition("\n")
        kind = {"# %%": "code", "# %% [markdown]": "markdown"}[marker]
        if kind == "markdown":
            source = ast.literal_eval(source.strip())
        found.append((kind, source.strip("\n")))
    return found


@every_script
def test_it_is_in_percent_format_and_begins_with_words(script):
    assert script.read_text().startswith("# %% [markdown]\n")
    kinds = [kind for kind, _ in cells(script)]
    assert kinds[0] == "markdown"
    assert kinds.count("markdown") >= 5
    title = cells(script)[0][1].splitlines()[0]
    assert re.fullmatch(r"# [A-Z].*[.?]", title)


@every_script
def test_its_notebook_is_in_step(script):
    notebook = json.loads((NOTEBOOKS / f"{script.stem}.ipynb").read_text())
    made = [(cell["cell_type"], "".join(cell["source"]).strip("\n")) for cell in notebook["cells"]]
    assert made == cells(script), f"run: python tutorials/build.py {script.name[:2]}"


@every_script
def test_its_notebook_shows_the_pictures_and_nothing_of_the_machine(script):
    path = NOTEBOOKS / f"{script.stem}.ipynb"
    assert path.stat().st_size < 400_000
    notebook = json.loads(path.read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data"}
    text = "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")
    assert not MACHINE.search(text)
    assert "Not run" not in text
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)
    pictures = [output["data"]["image/png"] for output in outputs if output["output_type"] == "display_data"]
    assert pictures
    assert all(output["metadata"]["image/png"]["alt"] for output in outputs if output["output_type"] == "display_data")
    for picture in pictures:
        assert matplotlib.image.imread(io.BytesIO(base64.b64decode("".join(picture)))).std() > 0.05
    assert all(cell.get("execution_count") is None and not cell["metadata"] for cell in notebook["cells"])


def test_every_notebook_has_its_script():
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == [script.stem for script in SCRIPTS]
