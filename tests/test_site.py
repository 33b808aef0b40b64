"""The documents as a site: a place for every page, no link that leads nowhere, nothing from elsewhere."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from test_documents import DOCUMENTS, ROOT

NAV = re.findall(r"^ +- (?:.+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)


def test_every_document_has_one_place_on_the_site():
    assert sorted(NAV) == DOCUMENTS, "the nav of mkdocs.yml and the documents that there are"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not find_spec("mkdocs") or not find_spec("material"):
        pytest.skip("needs requirements-docs.txt")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def page(site, name):
    return (site / name / "index.html").read_text("utf-8")


@pytest.mark.processes
def test_the_site_is_built_with_all_links_whole_and_fetches_nothing(site):
    pages = [path.read_text("utf-8") for path in site.rglob("*.html")]
    assert len(pages) == len(DOCUMENTS) + 1, "and a page for what is not found"
    fetched = re.compile(r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=\"?(?:https?:)?//")
    assert not [found for text in pages for found in fetched.findall(text)]
    styles = [path.read_text("utf-8") for path in site.rglob("*.css")]
    assert not [text for text in styles if re.search(r"url\([\"']?(?:https?:)?//|@import", text)]
    assert (site / "docs/distillation_gain.svg").is_file() and (site / "notebooks/text.ipynb").is_file()


@pytest.mark.processes
def test_both_languages_are_found_and_named(site):
    assert '<html lang="zh"' in page(site, "docs/zh/guide") and '<html lang="en"' in page(site, "docs/dial")
    assert "目录" in page(site, "README.zh") and "Table of contents" not in page(site, "README.zh")
    index = json.loads((site / "search/search_index.json").read_text("utf-8"))
    assert index["config"]["lang"] == ["en", "zh"]
    chinese = [each["text"] for each in index["docs"] if each["location"].startswith("docs/zh/")]
    assert any("随机\u200b种子" in text or "随机种子\u200b" in text for text in chinese), (
        "jieba has found words"
    )


@pytest.mark.processes
def test_markdown_is_read_as_github_reads_it(site):
    assert ">--vocab</span> FILE | <span" in page(site, "docs/commands"), "no backslash, no break in a flag"
    points = re.search(r"<li>\s*<p><strong>knowledge</strong>.*?</li>", page(site, "docs/dial"), re.DOTALL)
    assert points and "<pre>" in points[0] and "is printed apart" in points[0]
