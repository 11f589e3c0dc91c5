"""The documentation: its code runs, its links lead somewhere, and every public name is in the reference."""

from __future__ import annotations

import importlib
import inspect
import re
import urllib.parse
from pathlib import Path

import pytest

import captum_uq
import pages

pytestmark = pytest.mark.skipif(not pages.DOCS.exists(), reason="the pages are not part of the installed package")

PAGES = sorted(pages.DOCS.rglob("*.md"))
NOTEBOOKS = sorted((pages.ROOT / "tutorials" / "notebooks").glob("*.ipynb"))
MADE = {pages.DOCS / "tutorials" / f"{notebook.stem}.md" for notebook in NOTEBOOKS}
"""Pages that the site makes of the notebooks."""
LINKING = [*PAGES, *(pages.ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
OF_A_READER = {"index.md", "lrp.md"}
"""Pages that, as the README, begin with a network and images of the reader's."""
PUBLIC = ("attr", "distribution", "lrp", "metrics", "normalization", "recipes", "samplers", "stats", "testing")
MODULES = ["captum_uq", *(f"captum_uq.{name}" for name in (*PUBLIC, "visualization"))]


def name_of(page: Path) -> str:
    return str(page.relative_to(pages.ROOT))


WITH_CODE = [page for page in PAGES if any(">>>" not in block.text for block in pages.blocks(page, "python"))]


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_code_of_a_page_runs_and_prints_what_it_says(page: Path) -> None:
    assert pages.run(page, pages.given() if page.name in OF_A_READER else {}) > 0


def test_a_page_that_says_something_else_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for said, right in (("2", True), ("3", False)):
        page.write_text(f"```python\nprint(1 + 1)\n```\n\n```text\n{said}\n```\n")
        if right:
            assert pages.run(page) == 1
        else:
            with pytest.raises(AssertionError, match="now gives"):
                pages.run(page)


def test_an_error_is_promised_or_raised(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nraise KeyError('a')\n```\n\n```text\nKeyError: 'a'\n```\n")
    assert pages.run(page) == 1
    page.write_text("```python\nraise KeyError('a')\n```\n\nNo text follows.\n\n```text\nKeyError: 'a'\n```\n")
    with pytest.raises(KeyError):
        pages.run(page)


def test_the_outputs_of_today_are_written_into_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nprint('a', object)\n```\n\n```text\n```\n\n```python\nprint(2)\n```\n\n```text\n9\n```\n"
    )
    pages.rewrite(page)
    assert [block.text for block in pages.blocks(page, "text")] == ["a <class 'object'>\n", "2\n"]
    assert pages.run(page) == 2


def headings(page: Path) -> set[str]:
    """The anchors that GitHub and the site give to a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", LINKING, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if urllib.parse.urlsplit(target).scheme:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if file.resolve() in MADE:
            continue
        assert file.exists(), target
        assert not anchor or anchor in headings(file), target
        inside = pages.DOCS in page.parents
        assert not inside or pages.DOCS in file.resolve().parents, f"{target} is not on the site"


@pytest.mark.parametrize("page", [*PAGES, pages.ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_every_file_and_test_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(r"`((?:tests|benchmarks|tutorials|captum_uq|docs)/[\w./]+)`", text))
    commands = set(re.findall(r"python ((?:tests|benchmarks|tutorials)/[\w./]+\.py)", text))
    for file in named | commands:
        assert (pages.ROOT / file).exists(), file
    known = {
        name
        for file in (pages.ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert set(re.findall(r"`(test_\w+)`", text)) <= known


def test_every_law_says_what_checks_it() -> None:
    laws = [page for page in (pages.DOCS / "laws").glob("*.md") if page.name != "index.md"]
    assert len(laws) == 8
    for law in laws:
        for part in ("**The law.**", "## Without it", "## How it is kept", "## What checks it", "`tests/"):
            assert part in law.read_text(), f"{law.name} lacks {part}"


def test_the_sampler_of_the_guide_takes_15_lines() -> None:
    code = next(b.text for b in pages.blocks(pages.DOCS / "guides/add_a_sampler.md", "python") if "class" in b.text)
    lines = [line for line in code[code.index("class") :].splitlines() if line.strip()]
    assert len(lines) <= 15


def test_every_page_is_in_the_navigation() -> None:
    navigation = (pages.ROOT / "mkdocs.yml").read_text().partition("nav:")[2]
    every = {str(page.relative_to(pages.DOCS)) for page in (*PAGES, *MADE)}
    assert every == set(re.findall(r"[\w/]+\.md", navigation))


def test_where_to_go_names_every_tutorial() -> None:
    text = (pages.DOCS / "index.md").read_text()
    assert all(f"(tutorials/{notebook.stem}.md)" in text for notebook in NOTEBOOKS)


def test_every_public_module_has_a_page_of_the_reference() -> None:
    inside = Path(captum_uq.__file__).parent.iterdir()
    public = {path.stem for path in inside if (path.is_dir() or path.suffix == ".py") and path.stem[0] not in "_."}
    assert public - {"attribution", "execution"} == set(PUBLIC) | {"visualization"}
    assert {page.stem for page in (pages.DOCS / "reference").glob("*.md")} == {name.split(".")[-1] for name in MODULES}


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_takes_a_module_from_its_docstrings(module: str) -> None:
    page = (pages.DOCS / "reference" / f"{module.split('.')[-1]}.md").read_text()
    if module == "captum_uq.attr":  # its classes are made of Captum's own list: the page prints it
        assert f"::: {module}\n" in page
        assert all(re.search(rf"\b{name}\b", page) for name in importlib.import_module(module).__all__)
    elif module == "captum_uq":
        assert all(f"`{name}`" in page for name in captum_uq.__all__)
    else:
        assert re.search(rf"^::: {re.escape(module)}\b", page, re.MULTILINE)


def public_names(module: str) -> list[str]:
    """What a module says is public, or what it defines without an underscore."""
    loaded = importlib.import_module(module)
    if hasattr(loaded, "__all__"):
        return list(loaded.__all__)
    return [name for name, value in vars(loaded).items() if _is_defined_in(module, name, value)]


def _is_defined_in(module: str, name: str, value: object) -> bool:
    return not name.startswith("_") and inspect.getmodule(value) is importlib.import_module(module)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "captum_uq.attr"])
def test_every_public_name_says_what_it_is(module: str) -> None:
    """A name without a docstring would be missing in the reference."""
    for name in public_names(module):
        value = getattr(importlib.import_module(module), name)
        described = inspect.getdoc(value) if callable(value) else "a constant, described where it is assigned"
        assert described, f"{module}.{name}"
