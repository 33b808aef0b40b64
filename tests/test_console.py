"""Lines of a run beside the logging of a program that calls the package."""

import io
import logging
import subprocess
import sys

import pytest

from semcom.base import console
from semcom.base.errors import SemcomError
from semcom.base.failures import BAD_INPUT
from semcom.commands import cli

LOG = logging.getLogger("semcom.evaluation.scores")


@pytest.fixture
def host():
    """A program that has set logging up; what it is shown."""
    root, shown = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    logging.basicConfig(stream=shown, level=logging.INFO, format="%(message)s", force=True)
    yield shown
    root.handlers[:] = handlers
    root.setLevel(level)


def state():
    log = logging.getLogger("semcom")
    return log.level, log.propagate, log.handlers[:]


def verb(argv):
    LOG.info("a line")
    LOG.warning("take care")
    if argv:
        raise SemcomError("no such thing")


@pytest.mark.parametrize("argv, code", [([], 0), (["x"], BAD_INPUT)])
def test_a_command_within_a_host_program_says_each_line_once(host, capsys, argv, code):
    before = state()
    assert cli.run(verb, argv) == code
    assert capsys.readouterr().out == "a line\nwarning: take care\n" and host.getvalue() == ""
    assert state() == before
    LOG.info("afterwards")
    assert host.getvalue() == "afterwards\n" and capsys.readouterr().out == ""


def of_files(argv):
    console.warn_of("a.pt", "carries no digest")
    LOG.info("the answer")
    console.warn_of("b.pt", "carries no digest")
    console.warn_of("c.pt", "is old")


def test_what_is_said_of_several_files_is_one_line_at_the_end(capsys):
    cli.run(of_files, [])
    told = "the answer\nwarning: a.pt (and 1 more): carries no digest\nwarning: c.pt: is old\n"
    assert capsys.readouterr().out == told
    with console.speaking():
        console.warn_of("d.pt", "is old")
    assert capsys.readouterr().out == "warning: d.pt: is old\n", "at once where nothing gathers"


def test_an_inner_command_leaves_the_outer_one_speaking(capsys):
    with console.speaking():
        cli.run(verb, [])
        LOG.info("on it goes")
    assert capsys.readouterr().out == "a line\nwarning: take care\non it goes\n"


def test_a_host_program_that_sets_nothing_up_is_shown_nothing():
    code = "import semcom, logging; logging.getLogger('semcom.data').warning('take care')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""
