"""The executed notebooks of the tutorials as pages of the site, through nbconvert.

Each ``tutorials/notebooks/NAME.ipynb`` becomes ``tutorials/NAME.md``, with its pictures, its notebook and its script as
files beside it. What a cell prints is a block of text, so that it looks like the outputs of the other pages; a picture
has the alternative text that the script gave it.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

TEMPLATE = """
{%- extends 'markdown/index.md.j2' -%}
{% block stream %}
``` {.text .output}
{{ output.text.rstrip() }}
```
{% endblock %}
{% block data_png %}
![{{ output | get_metadata('alt', 'image/png') }}]({{ output.metadata.filenames['image/png'] | path2url }})
{% endblock %}
"""
SOURCE = """
*What `python tutorials/{name}.py` prints and draws: [the script]({name}.py), [the notebook]({name}.ipynb).*
"""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Called by mkdocs with the files that it found; adds those of the tutorials."""
    tutorials = Path(config.config_file_path).parent / "tutorials"
    for notebook in sorted((tutorials / "notebooks").glob("*.ipynb")):
        text, pictures = _page(notebook)
        files.append(File.generated(config, f"tutorials/{notebook.stem}.md", content=text))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"tutorials/{name}", content=picture))
        for path in (notebook, tutorials / f"{notebook.stem}.py"):
            files.append(File.generated(config, f"tutorials/{path.name}", abs_src_path=str(path)))
    return files


def _page(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown, with a line below its title that says what made it, and its pictures by name."""
    exporter = MarkdownExporter(raw_template=TEMPLATE)
    text, resources = exporter.from_filename(str(notebook), {"output_files_dir": notebook.stem})
    title, rest = text.lstrip().split("\n", 1)
    return f"{title}\n{SOURCE.format(name=notebook.stem)}{rest}", resources["outputs"]
