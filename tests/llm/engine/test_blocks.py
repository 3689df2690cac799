"""Blocks are shared by equal prefixes, and found again until they are needed."""

import pytest

from services.llm.engine.blocks import EXPIRED, BlockPool
from services.llm.engine.request import Request, Sequence


def sequence(token_ids: list[int], **more: object) -> Sequence:
    return Sequence(Request("r", token_ids, **more))  # type: ignore[arg-type]


def computed(pool: BlockPool, token_ids: list[int], **more: object) -> Sequence:
    """A sequence that has its blocks and has filled them."""
    done = sequence(token_ids, **more)
    pool.allocate(done)
    done.computed = len(token_ids)
    pool.seal(done)
    return done


def hit(pool: BlockPool, token_ids: list[int], **more: object) -> int:
    """Tokens that a newcomer with these tokens finds computed."""
    newcomer = sequence(token_ids, **more)
    pool.allocate(newcomer)
    tokens = newcomer.computed
    pool.release(newcomer)
    return tokens


def test_equal_prefixes_share_whole_blocks() -> None:
    pool = BlockPool(8, 4)
    first = computed(pool, [*range(10)])
    second = sequence([*range(9), 77, 78])
    pool.allocate(second)
    assert second.block_table[:2] == first.block_table[:2]
    assert second.block_table[2] != first.block_table[2]
    assert second.computed == 8
    assert pool.free_count == 8 - 4


def test_one_token_is_always_left_to_compute() -> None:
    pool = BlockPool(8, 4)
    computed(pool, [*range(8)])
    assert hit(pool, [*range(8)]) == 4


def test_blocks_that_are_not_computed_yet_are_not_shared() -> None:
    pool = BlockPool(8, 4)
    pool.allocate(sequence([*range(10)]))
    assert hit(pool, [*range(10)]) == 0


def test_of_a_prompt_under_way_only_what_is_computed_is_shared() -> None:
    pool = BlockPool(8, 4)
    under_way = sequence([*range(12)])
    pool.allocate(under_way)
    under_way.computed = 7
    pool.seal(under_way)
    assert hit(pool, [*range(12)]) == 4


def test_freed_blocks_are_found_again_until_they_are_needed() -> None:
    pool = BlockPool(4, 4)
    pool.release(computed(pool, [*range(12)]))
    assert pool.free_count == 4
    assert hit(pool, [*range(12), 1]) == 12
    pool.release(computed(pool, [*range(100, 108)]))
    assert hit(pool, [*range(12), 1]) == 8, "the end of a prefix is evicted before its beginning"


@pytest.mark.parametrize(
    "change",
    [
        {"cache_salt": "mine", "salts": {1: b"picture"}},
        {"salts": {1: b"x"}},
        {"salts": {2: b"picture"}},
        {"salts": {1: b"pictur", 2: b"e"}},
    ],
    ids=["cache salt", "other salt", "other place", "split salt"],
)
def test_a_prefix_is_more_than_its_tokens(change: dict[str, object]) -> None:
    pool = BlockPool(8, 4)
    pool.release(computed(pool, [*range(9)], salts={1: b"picture"}))
    assert hit(pool, [*range(9)], salts={1: b"picture"}) == 8
    assert hit(pool, [*range(9)], **change) == 0


def test_a_salt_reaches_all_later_blocks_and_no_earlier_one() -> None:
    pool = BlockPool(8, 4)
    pool.release(computed(pool, [*range(13)], salts={5: b"x"}))
    assert hit(pool, [*range(13)], salts={5: b"y"}) == 4


@pytest.mark.parametrize(("span", "tokens"), [((2, 6), 8), ((4, 8), 8), ((6, 10), 4), ((2, 10), 0)])
def test_a_hit_never_ends_inside_a_media_span(span: tuple[int, int], tokens: int) -> None:
    pool = BlockPool(8, 4)
    done = computed(pool, [*range(8)], spans=(span,))
    pool.release(done)
    assert hit(pool, [*range(12)], spans=(span,)) == tokens


def test_a_pool_without_reuse_finds_nothing() -> None:
    pool = BlockPool(8, 4, reuse=False)
    pool.release(computed(pool, [*range(9)]))
    assert hit(pool, [*range(9)]) == 0


def test_can_allocate_counts_hits_that_are_free_only_once() -> None:
    pool = BlockPool(3, 4)
    pool.release(computed(pool, [*range(8)]))
    assert pool.can_allocate(sequence([*range(12)]))
    assert not pool.can_allocate(sequence([*range(13)]))
    holder = sequence([*range(9)])
    pool.allocate(holder)
    assert pool.can_allocate(sequence([*range(8)])) is False
    assert pool.free_count == 0


def test_blocks_behind_the_window_are_given_back() -> None:
    pool = BlockPool(8, 4, window=6, global_tokens=3)
    long = computed(pool, [*range(20)])
    assert pool.expire(long) == 2
    assert [block == EXPIRED for block in long.block_table] == [False, True, True, False, False]
    assert pool.free_count == 8 - 3
    assert pool.expire(long) == 0
    pool.release(long)
    assert pool.free_count == 8


def test_the_next_token_still_sees_its_whole_window() -> None:
    pool = BlockPool(8, 4, window=6)
    for length, expired in ((8, 0), (9, 1), (12, 1), (13, 2)):
        long = computed(pool, [*range(100, 100 + length)])
        pool.expire(long)
        assert long.block_table.count(EXPIRED) == expired
        pool.release(long)


def test_expired_blocks_are_still_found_by_their_name() -> None:
    pool = BlockPool(8, 4, window=6)
    long = computed(pool, [*range(20)])
    pool.expire(long)
    assert hit(pool, [*range(20), 1]) == 20
    pool.release(long)
    assert pool.free_count == 8
