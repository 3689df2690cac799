"""Distributions count every value once."""

from services.llm.engine.stats import Distribution


def test_a_bound_belongs_to_what_lies_below_it() -> None:
    distribution = Distribution((1, 2, 4))
    for value in (0.5, 1, 1.5, 4, 100):
        distribution.add(value)
    distribution.add(3, times=2)
    assert distribution.counts == [2, 1, 3, 1]
    assert distribution.count == 7
    assert distribution.sum == 113
