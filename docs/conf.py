"""The site: README, notebooks with their stored outputs, pages and API. Built by ``make site``, offline."""

import json
import os
import re
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

REPOSITORY = os.environ.get("HNAS_REPOSITORY", "")  # https://github.com/OWNER/NAME: gives launch buttons

project, author, copyright = "hnas_kit", "hnas_kit contributors", "hnas_kit contributors, MIT license"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*", "notebooks/*.ipynb"]
nb_execution_mode = "off"  # outputs are the stored ones
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "sphinx_book_theme"
html_title = "hnas_kit"
html_math_renderer = "mathml"
html_show_sourcelink = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_theme_options = {"use_download_button": False, "navigation_with_keys": False, "navbar_persistent": []}
if REPOSITORY:
    html_theme_options |= {
        "repository_url": REPOSITORY,
        "repository_branch": "main",
        "use_repository_button": True,
        "launch_buttons": {
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
START = '<!doctype html><title>hnas_kit</title><meta http-equiv="refresh" content="0; url=README.html">'
START += '<a href="README.html">hnas_kit</a>'


def fold(app: Sphinx, name: str, source: list[str]) -> None:
    """Fold the cells that JupyterLab shows folded, and solutions."""
    if not name.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    for cell in notebook["cells"]:
        tags = cell["metadata"].setdefault("tags", [])
        hidden = cell["metadata"].get("jupyter", {}).get("source_hidden", False)
        if (hidden or "solution" in tags) and "hide-input" not in tags:
            tags.append("hide-input")
    source[0] = json.dumps(notebook)


def _inline(self: object, node: nodes.math) -> None:
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block(self: object, node: nodes.math_block) -> None:
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


# what the theme and pandas leave to be desired by readers who do not see the page: pattern, replacement
POLISH = {
    r'(<button class="btn search-button-field[^>]*?) aria-label="Search"': r"\1",  # its own text says more
    r'<summary aria-label="Toggle hidden content">': "<summary>",
    r'(<div id="pst-primary-sidebar")': r'\1 role="navigation" aria-label="Site"',
    r'(<th class="head"><p>)(?=<math)': r'\1<span class="visually-hidden">formula </span>',
    r"<th></th>|<th class=\"head\"><p></p></th>": "<td></td>",  # the corner of a table heads nothing
}


def finish(app: Sphinx, error: Exception | None) -> None:
    """Polish every page; the address of the folder leads to the README."""
    if error is not None:
        return
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for pattern, replacement in POLISH.items():
            text = re.sub(pattern, replacement, text)
        page.write_text(text, encoding="utf-8")
    (Path(app.outdir) / "index.html").write_text(START, encoding="utf-8")


def setup(app: Sphinx) -> None:
    # MathML, which browsers draw by themselves: a page needs no script from elsewhere
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("source-read", fold)
    app.connect("build-finished", finish)
