"""Tables compiled by a real TeX."""

import re
import shutil
import subprocess

import pytest

CLASSES = {
    "article": r"\documentclass{article}",
    "twocolumn": r"\documentclass[twocolumn]{article}",
    "IEEEtran": r"\documentclass[conference]{IEEEtran}",
}
COMPLAINTS = re.compile(r"^!.*|^Overfull \\hbox.*|.*Float too large.*|.*Undefined control.*", re.MULTILINE)
WANTED = ("article.cls", "IEEEtran.cls", "booktabs.sty", "siunitx.sty", "colortbl.sty")


def needs_tex(*more):
    """A mark: skipped, with the reason, where there is no TeX or not all that these tables need of it."""
    if not shutil.which("kpsewhich"):
        return pytest.mark.skip(reason="no TeX here; .ci/run names Debian's packages")
    lacking = [name for name in (*WANTED, *more) if not _has(name)]
    return pytest.mark.skipif(bool(lacking), reason=f"this TeX lacks {', '.join(lacking)}")


def _has(name):
    if "." not in name:
        return shutil.which(name) is not None
    return subprocess.run(["kpsewhich", name], capture_output=True).returncode == 0


def complaints(sources, kind, folder, engine="pdflatex", packages=""):
    """What TeX says against files of tables, each on pages of its own: errors, overfull boxes, tables that no
    page holds."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = []
    for place, text in enumerate(sources):
        (folder / f"{place}.tex").write_text(text, encoding="utf-8")
        inputs.append(rf"\input{{{place}.tex}}\clearpage")
    paper = [CLASSES[kind], r"\usepackage{booktabs,siunitx,colortbl}", packages, r"\begin{document}", "Text."]
    (folder / "paper.tex").write_text("\n".join([*paper, *inputs, r"\end{document}"]), encoding="utf-8")
    subprocess.run(
        [engine, "-interaction=nonstopmode", "paper.tex"], cwd=folder, capture_output=True, timeout=300
    )
    log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert "Output written" in log, log[-2000:]
    return COMPLAINTS.findall(log)
