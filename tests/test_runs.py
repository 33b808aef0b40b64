"""Epochs of a run, as its history.csv has them."""

import pytest

from semcom.commands.runs import Found, history


def read(folder, text):
    (folder / "history.csv").write_bytes(text.encode("latin-1"))
    return history(Found("run", str(folder / "best_student_model.pt"), {}))


def test_epochs_are_read_to_the_last_digit_without_what_is_no_number(tmp_path):
    text = (
        "epoch,loss,validation,lr,temperature\n"
        "1,0.30000000000000004,2.5,0.003,\n"
        "2,nan,2,1,\n"
        "3,0.1,inf,1,4\n"
        "4,0.2,1e-3,1,4\n"
    )
    assert read(tmp_path, text) == [
        {"epoch": 1.0, "loss": 0.30000000000000004, "validation": 2.5, "lr": 0.003},
        {"epoch": 4.0, "loss": 0.2, "validation": 0.001, "lr": 1.0, "temperature": 4.0},
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "epoch,loss\n1,2\n",
        "epoch,loss,validation,lr\n1,2,x,4\n",
        "epoch,loss,validation,lr\n1,2,3,4,5,6\n",
        "epoch,loss,validation,lr\n1,2\n",
        "\x00\xff",
    ],
)
def test_what_is_damaged_has_no_epochs(tmp_path, text):
    assert read(tmp_path, text) == []


def test_without_a_history_there_are_no_epochs(tmp_path):
    assert history(Found("run", str(tmp_path / "model.pt"), {})) == []
