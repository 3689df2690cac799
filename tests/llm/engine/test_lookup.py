"""Guesses come from what was said before, and end where they fail."""

from services.llm.engine.lookup import PATIENCE, REST, Lookup

SONG = [1, 2, 3, 4, 5, 6, 7, 8, 9]


def eager() -> Lookup:
    """One whose guesses have come true."""
    lookup = Lookup()
    for _ in range(3):
        lookup.learn(2, 2, 0)
    return lookup


def test_the_same_is_expected_after_the_same() -> None:
    assert eager().propose([*SONG, 0, 2, 3, 4], 3) == (5, 6, 7)


def test_the_latest_place_counts() -> None:
    assert eager().propose([1, 2, 3, 70, 1, 2, 3, 80, 1, 2, 3], 1) == (80,)


def test_nothing_is_expected_after_something_new() -> None:
    lookup = eager()
    assert lookup.propose(SONG, 4) == ()
    assert lookup.propose([2, 3], 4) == ()
    assert lookup.propose([*SONG, 2, 3, 4], 0) == ()


def test_what_was_said_since_is_looked_up_too() -> None:
    lookup, said = eager(), [*SONG]
    assert lookup.propose(said, 4) == ()
    said += [30, 31, 32, 33, 30, 31, 32]
    assert lookup.propose(said, 4) == (33, 30, 31, 32)


def test_guesses_grow_with_success_and_shrink_without() -> None:
    lookup, said = Lookup(), [*SONG, 0, 1, 2, 3]
    assert lookup.propose(said, 8) == (4, 5)
    lookup.learn(2, 2, len(said))
    assert lookup.propose(said, 8) == (4, 5, 6, 7)
    lookup.learn(4, 1, len(said))
    assert lookup.propose(said, 8) == (4, 5)
    lookup.learn(2, 0, len(said))
    assert lookup.propose(said, 8) == (4,)


def test_fruitless_guesses_are_given_up_for_ever_longer() -> None:
    lookup, said = Lookup(), [*SONG] * 2
    rests = []
    for _ in range(3):
        for _ in range(PATIENCE):
            assert lookup.propose(said, 4)
            lookup.learn(2, 0, len(said))
        rests.append(0)
        while not lookup.propose(said, 4):
            said.append(said[len(said) - len(SONG)])
            rests[-1] += 1
    assert rests == [REST, 2 * REST, 4 * REST]
