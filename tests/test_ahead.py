"""What a thread makes ahead of its need."""

import threading
import time

import pytest
import torch

from semcom.base.ahead import ahead


def waits_for(done):
    until = time.monotonic() + 10
    while not done() and time.monotonic() < until:
        time.sleep(0.001)
    return done()


def test_the_items_come_in_their_order_and_from_another_thread():
    def make():
        for number in range(20):
            yield number, threading.get_ident(), torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ahead(make(), 3) as items:
            found = list(items)
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert [number for number, _, _ in found] == list(range(20))
    assert threading.get_ident() not in {thread for _, thread, _ in found} and {n for *_, n in found} == {1}


def test_no_more_are_made_than_are_let_ahead():
    made = []

    def make():
        for number in range(20):
            made.append(number)
            yield number

    with ahead(make(), 3) as items:
        assert waits_for(lambda: len(made) == 3)
        for number in range(5):
            assert next(items) == number
            assert waits_for(lambda there=4 + number: len(made) == there)
        time.sleep(0.02)
        assert len(made) == 8
    assert len(made) == 8 and not [t for t in threading.enumerate() if t.name == "ahead"]


def test_what_is_raised_comes_where_the_item_would():
    def make():
        yield 1
        raise LookupError("there is none")

    with ahead(make(), 3) as items:
        assert next(items) == 1
        with pytest.raises(LookupError, match="there is none"):
            next(items)


@pytest.mark.parametrize("taken", [0, 2])
def test_a_block_that_is_left_ends_the_thread(taken):
    with pytest.raises(KeyboardInterrupt), ahead(iter(range(10**9)), 3) as items:
        for _ in range(taken):
            next(items)
        raise KeyboardInterrupt
    assert not [t for t in threading.enumerate() if t.name == "ahead"]
