"""The same work on several items at a time."""

import threading
import time

import pytest
import torch

from semcom.base.side_by_side import side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items_and_without_gradients(two_threads):
    weights = torch.ones(2, requires_grad=True)

    def work(item, go_on):
        time.sleep(0.02 * (3 - item))
        return item, (weights * item).requires_grad

    assert side_by_side(work, [1, 2, 3], CPU) == [(1, False), (2, False), (3, False)]
    assert torch.get_num_threads() == 2 and torch.is_grad_enabled()


def test_two_items_are_at_work_at_a_time_and_part_the_threads(two_threads):
    both = threading.Barrier(2, timeout=10)

    def work(item, go_on):
        both.wait()  # broken where they come one after the other
        return torch.get_num_threads()

    assert side_by_side(work, [1, 2], CPU) == [1, 1]


@pytest.mark.parametrize("threads, items", [(1, [1, 2]), (2, [1]), (2, [])])
def test_one_thread_or_item_needs_no_other_thread(threads, items, two_threads):
    torch.set_num_threads(threads)
    here = threading.current_thread()
    assert side_by_side(lambda item, go_on: threading.current_thread() is here, items, CPU) == [True] * len(
        items
    )


def test_where_one_fails_the_others_stop_and_no_more_begin(two_threads):
    begun = []

    def work(item, go_on):
        begun.append(item)
        if item == 0:
            raise ValueError("spoilt")
        while True:
            time.sleep(0.01)
            go_on()

    with pytest.raises(ValueError, match="spoilt"):
        side_by_side(work, range(10), CPU)
    assert len(begun) <= 3
    assert torch.get_num_threads() == 2
