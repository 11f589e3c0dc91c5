"""The documentation as a site: it builds without a warning, needs no network, and shows every public name."""

from __future__ import annotations

import base64
import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pages
from test_docs import MODULES, public_names

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mkdocstrings", "nbconvert"))
    and os.environ.get("CAPTUM_UQ_DOCS") != "required",
    reason="the site needs the extra docs: pip install -e '.[docs]'",
)
TUTORIALS = sorted((pages.ROOT / "tutorials").glob("[0-9][0-9]_*.py"))
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("site")
    # Not --quiet: it would also silence what --strict counts.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(where)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=pages.ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return where


@pytest.fixture(scope="module")
def documents(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text() for path in site.rglob("*.html")}


@pytest.mark.parametrize("module", [name for name in MODULES if name not in ("captum_uq", "captum_uq.attr")])
def test_every_public_name_is_in_the_reference(module: str, documents: dict[str, str]) -> None:
    shown = set(re.findall(r'id="(captum_uq[\w.]*)"', documents[f"reference/{module.split('.')[-1]}.html"]))
    for name in public_names(module):
        assert shown & {f"{module}.{name}", f"{module}.{name}.{name}"}, f"{module}.{name}"


@pytest.mark.parametrize("script", TUTORIALS, ids=lambda script: script.stem)
def test_every_tutorial_is_a_page_of_what_it_prints_and_draws(
    script: Path, documents: dict[str, str], site: Path
) -> None:
    page, folder = documents[f"tutorials/{script.stem}.html"], site / "tutorials"
    notebook = json.loads((script.parent / "notebooks" / f"{script.stem}.ipynb").read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    pictures = [base64.b64decode("".join(each["data"]["image/png"])) for each in outputs if "data" in each]
    shown = re.findall(r'<img alt="([^"]*)" src="([^"]*)"', page)
    assert [(folder / source).read_bytes() for _, source in shown] == pictures
    assert len({words for words, _ in shown}) > len(shown) / 2
    assert all(len(words.split()) >= 5 for words, _ in shown), "a picture says what is seen on it"
    blocks = re.findall(r'<div class="language-text output highlight">(.*?)</div>', page, re.DOTALL)
    printed = [html.unescape(re.sub(r"<[^>]*>", "", block)).strip() for block in blocks]
    assert printed == ["".join(each["text"]).strip() for each in outputs if "text" in each]
    assert f'<a href="{script.name}">' in page
    assert (folder / script.name).read_bytes() == script.read_bytes()


def test_nothing_is_fetched_from_the_network(site: Path, documents: dict[str, str]) -> None:
    for name, text in documents.items():
        fetched = re.findall(r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]*)"', text)
        fetched += re.findall(r'<link[^>]*\shref="([^"]*)"[^>]*>', text)
        assert not [each for each in fetched if re.match(r"(https?:)?//", each)], name
    assert not re.search(r"@import|url\(['\"]?(https?:)?//", "".join(p.read_text() for p in site.rglob("*.css")))
    assert (site / "search" / "search_index.js").exists(), "search from a file needs the index as a script"
    assert all("assets/iframe-worker.js" in text for text in documents.values()), "and a stand-in for its worker"


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here to open the site with")
def test_search_works_from_a_file(site: Path, tmp_path: Path) -> None:
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}", "--dump-dom"]
    address = f"{(site / 'laws' / 'seed.html').as_uri()}?q=percentile"
    command = [str(BROWSER), *options, "--virtual-time-budget=20000", address]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    assert re.search(r'<a href="[^"]*stats.html[^"]*" class="md-search-result__link"', shown)


def test_every_link_inside_the_site_leads_to_a_page_and_an_anchor(documents: dict[str, str], site: Path) -> None:
    anchors = {name: set(re.findall(r'\bid="([^"]*)"', text)) for name, text in documents.items()}
    for name, text in documents.items():
        if name == "404.html":
            continue
        for target in map(html.unescape, re.findall(r'<a[^>]*\shref="([^"]*)"', text)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (site / name).parent / path if path else site / name
            assert file.exists(), f"{name}: {target}"
            inside = os.path.relpath(file, site)
            assert not anchor or inside not in anchors or anchor in anchors[inside], f"{name}: {target}"


def test_marks_of_docstrings_are_not_left_as_they_were_written(documents: dict[str, str]) -> None:
    for name, text in documents.items():
        if name.startswith("reference/"):
            prose = re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.DOTALL)
            for mark in (":func:", ":meth:", ":class:", ":mod:", "<p>&gt;&gt;&gt;", "```", "Args:", "<blockquote>"):
                assert mark not in prose, f"{name}: {mark}"
