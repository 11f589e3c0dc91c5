"""Makes the notebooks: every tutorial run whole, with its pictures.

    pip install -e ".[tutorials,notebooks]"
    python tutorials/build.py            # all of them, some minutes
    python tutorials/build.py 04 08      # these

A notebook holds the cells of its script, word for word, and what they print and draw: no machine's paths, times or
counters, and all with one thread, since training rounds otherwise with two. So building it again changes what the code
changes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE / "notebooks"
LARGEST = 400_000  # bytes
TIMEOUT = 1800  # seconds a cell


def read(script: Path) -> NotebookNode:
    """The cells of a percent-format script, without outputs."""
    notebook = jupytext.read(script, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def run(notebook: NotebookNode) -> None:
    """Run all cells in the folder of the notebooks; what they print and draw is kept, and nothing else."""
    kept = notebook.metadata
    options = {"timeout": TIMEOUT, "record_timing": False, "coalesce_streams": True}
    options["resources"] = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, kernel_name="python3", **options).execute()
    notebook.metadata = kept
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [clean(output) for output in cell.outputs]


def clean(output: NotebookNode) -> NotebookNode:
    """An output without counters and machine paths.

    Raises:
        SystemExit: It is a warning or an error, which a reader should not have to meet.
    """
    if output.output_type == "stream" and output.name == "stderr":
        raise SystemExit(f"a cell wrote to stderr, which a lesson should not:\n{output.text}")
    if output.output_type == "stream":
        output.text = output.text.replace(f"{HERE.parent}/", "")
    elif "image/png" in output.data:
        seen = output.metadata.get("image/png", {}).get("alt", "")
        output.data, output.metadata = {"image/png": output.data["image/png"]}, {"image/png": {"alt": seen}}
    return output


def main() -> None:
    """Build the notebooks that the command line names.

    Raises:
        SystemExit: No script has that number, or a notebook is too large.
    """
    parser = argparse.ArgumentParser(description="Make the notebooks of the tutorials.")
    parser.add_argument("numbers", nargs="*", help="which, as 04; all by default")
    wanted = parser.parse_args().numbers
    scripts = [path for path in sorted(HERE.glob("[0-9][0-9]_*.py")) if not wanted or path.name[:2] in wanted]
    if not scripts:
        raise SystemExit(f"no tutorial has the number {' or '.join(wanted)}.")
    NOTEBOOKS.mkdir(exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"  # the kernel's
    for script in scripts:
        print(f"{script.name} ...", end=" ", flush=True)
        notebook = read(script)
        run(notebook)
        path = NOTEBOOKS / f"{script.stem}.ipynb"
        nbformat.validate(notebook)
        nbformat.write(notebook, path)
        size = path.stat().st_size
        print(f"{size // 1000} kB")
        if size > LARGEST:
            raise SystemExit(f"{path.name} has {size} bytes, more than {LARGEST}: make its pictures smaller.")


if __name__ == "__main__":
    sys.exit(main())
