"""A raw topic that is deleted and made anew: its records are processed from the first one, and are no repeats."""

from typing import Any

import pytest

from schemas.codec import Decoder, schema_text
from schemas.records import QualityEvent, Tick
from schemas.topics import QUALITY, TICK
from tests.model.conftest import HOME, Record

COUNT = 20


def write(world: Any, first: int, end: int) -> None:
    for value in world.values[first:end]:
        world.broker.append(Record(HOME, 0, None, value, None, world.broker.now_us // 1000))


def told(world: Any, topic: str, shape: Any) -> list[Any]:
    decoder = Decoder(shape, lambda _: schema_text(shape))
    return [decoder.decode(value) for value in world.outputs()[topic]]


def story(world: Any, turns: int) -> Any:
    """Process some, make the topic anew, end the next owner after so many turns, and let another one finish."""
    write(world, 0, COUNT)
    first = world.start()
    world.run(world.is_done)
    first.kill()
    world.broker.make_anew("secondli")
    write(world, COUNT, 2 * COUNT)
    second = world.start()
    for _ in range(turns):
        second.turn()
        second.transmit()
        world.wait(0.02)
    second.kill()
    world.wait(30)
    world.start()
    world.run(world.is_done)
    return world


@pytest.mark.timeout(300)
def test_wherever_its_first_owner_ends_readers_see_each_record_of_both_lives_once(new_world: Any) -> None:
    stories = [story(new_world(), turns) for turns in range(0, 60, 6)]
    whole = stories[0].outputs()
    ticks, events = told(stories[0], TICK.name, Tick), told(stories[0], QUALITY.name, QualityEvent)
    after = [each for each in ticks if each.source_topic == "raw.binance@secondli"]

    assert all(each.outputs() == whole for each in stories)
    assert {each.source_topic for each in ticks} == {"raw.binance@firstlif", "raw.binance@secondli"}
    assert min(each.source_offset for each in after) == 0
    for symbol in {each.symbol for each in ticks}:
        numbers = [each.sequence_id for each in ticks if each.symbol == symbol]
        assert numbers == list(range(1, len(numbers) + 1))
    assert [each.source_offset for each in events if each.kind == "RAW_LOSS"] == [0]
    for each in stories:
        each.close()
