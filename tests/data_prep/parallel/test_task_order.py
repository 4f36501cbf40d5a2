"""Tasks are returned in order, run ahead by a limited number, and are taken up again after a loss."""

from data_prep.parallel.task_order import MAX_LOSSES, TaskOrder
from data_prep.pool import Failed


def test_results_are_returned_in_the_order_of_the_tasks():
    order = TaskOrder("abc")
    first, second, third = (order.next(9, alone=True) for _ in range(3))
    order.finish(third, 3)
    order.finish(second, 2)
    assert list(order.in_order()) == []
    order.finish(first, 1)
    assert list(order.in_order()) == [("a", 1), ("b", 2), ("c", 3)]
    assert order.next(9, alone=True) is None
    assert order.complete


def test_no_task_is_read_that_is_too_far_ahead_of_the_oldest():
    read = []

    def tasks():
        for number in range(100):
            read.append(number)
            yield number

    order = TaskOrder(tasks())
    running = [order.next(4, alone=False) for _ in range(6)]
    assert running[4:] == [None, None]
    order.finish(running[1], None)
    assert list(order.in_order()) == []
    assert order.next(4, alone=False) is None
    order.finish(running[0], None)
    assert len(list(order.in_order())) == 2
    assert order.next(4, alone=False).number == 4
    assert read == [0, 1, 2, 3, 4]


def test_a_lost_task_runs_again_and_alone_before_others():
    order = TaskOrder("abcd")
    lost, other = order.next(9, alone=True), order.next(9, alone=True)
    order.lose(lost)
    assert order.next(9, alone=False).task == "c"
    assert order.next(9, alone=True) is lost
    order.finish(lost, 1)
    order.finish(other, 2)
    assert list(order.in_order()) == [("a", 1), ("b", 2)]


def test_a_task_that_is_always_lost_is_rejected():
    order = TaskOrder("ab")
    for _ in range(MAX_LOSSES):
        attempt = order.next(9, alone=True)
        assert attempt.task == "a"
        order.lose(attempt)
    ((task, result),) = order.in_order()
    assert (task, result.reason) == ("a", "crashed")
    assert isinstance(result, Failed)
    assert order.next(9, alone=True).task == "b"
