"""What tells whether anything is lost or doubled must tell it: planted losses and repeats are found."""

import numpy as np
import pytest

from tickerplant.demo.ids import Difference, compare, pack, unpack

IDS = np.array(
    sorted(pack(partition, offset, index) for partition in (0, 3) for offset in (0, 2**35) for index in (0, 9))
)


def test_what_is_the_same_differs_by_nothing() -> None:
    assert compare(IDS, IDS.copy()) == Difference([], [], [], 0)


@pytest.mark.parametrize("number", range(len(IDS)))
def test_each_planted_difference_is_found(number: int) -> None:
    one, others = IDS[number : number + 1], np.delete(IDS, number)
    name = unpack(int(one[0]))

    assert compare(IDS, others) == Difference([name], [], [], 1)
    assert compare(IDS, np.sort(np.append(IDS, one))) == Difference([], [name], [], 1)
    assert compare(others, IDS) == Difference([], [], [name], 1)


def test_one_lost_and_one_doubled_do_not_make_each_other_good() -> None:
    found = np.sort(np.append(IDS[1:], IDS[-1:]))

    assert len(found) == len(IDS)
    assert compare(IDS, found).count == 2
