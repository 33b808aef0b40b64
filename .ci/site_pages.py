"""Hooks of MkDocs (mkdocs.yml): the site has the folders of the repository, with pages from outside ``docs/``
and the files that pages link to; Markdown as GitHub reads it, where python-markdown reads it otherwise."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from mkdocs.utils.templates import TemplateContext

ROOT = Path(__file__).resolve().parent.parent
BESIDE = ("*.md", "checkpoints/*.md", "notebooks/*.ipynb", "CITATION.cff", "LICENSE")
"""What comes in from outside ``docs/``."""
STYLE = "site.css"
TABLE_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
CODE_SPAN = re.compile(r"`[^`\n]+`")
CODE = re.compile(r"<code>[^<]*</code>")
FLAG = re.compile(r"(?<![\w-])--[\w-]+")
CHINESE = re.compile(r"README\.zh\.md|docs/zh/")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """``docs/X`` at docs/X, not at X, and what lies beside it."""
    moved = [file for file in files if Path(str(file.abs_src_path)).is_relative_to(config.docs_dir)]
    for file in moved:
        files.remove(file)
        add(files, Path(str(file.abs_src_path)), config)
    for pattern in BESIDE:
        for path in sorted(ROOT.glob(pattern)):
            add(files, path, config)
    files.append(File.generated(config, STYLE, abs_src_path=str(ROOT / ".ci" / STYLE)))
    return files


def add(files: Files, path: Path, config: MkDocsConfig) -> None:
    uri = path.relative_to(ROOT).as_posix()
    files.append(File.generated(config, uri, abs_src_path=str(path)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """In a table's row GitHub reads ``\\|`` as a bar within code too; python-markdown would show the
    backslash."""
    return TABLE_ROW.sub(_bars, markdown)


def _bars(row: re.Match[str]) -> str:
    return CODE_SPAN.sub(lambda code: code[0].replace("\\|", "|"), row[0])


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """No line ends within a flag."""
    return CODE.sub(lambda code: FLAG.sub(r'<span class="flag">\g<0></span>', code[0]), html)


def on_page_context(context: TemplateContext, page: Page, config: MkDocsConfig, nav: Navigation) -> None:
    """The words around a Chinese page, and the language that it says it is in, are Chinese."""
    config.theme["language"] = "zh" if CHINESE.match(page.file.src_uri) else "en"
