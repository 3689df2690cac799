"""The table of all drills."""

import json
from collections import Counter

from tests.chaos.mix import Tally

HEAD = f"{'drill':<34} {'requests':>8} {'right':>5} {'named':>5} {'lost':>4} {'recovery s':>10}"


def row(tally: Tally) -> str:
    """One line, with the names of what was not answered."""
    line = (
        f"{tally.drill:<34} {tally.requests:>8} {tally.right:>5} {tally.named.total():>5} "
        f"{tally.lost.total():>4} {tally.recovery_s:>10.1f}"
    )
    return " ".join([line, _names(tally.named), _names(tally.lost)]).rstrip()


def summary(tallies: list[Tally]) -> str:
    """Everything as one line of JSON."""
    return json.dumps(
        {
            "drills": len(tallies),
            "requests": sum(tally.requests for tally in tallies),
            "right": sum(tally.right for tally in tallies),
            "named": dict(sum((tally.named for tally in tallies), Counter())),
            "lost": dict(sum((tally.lost for tally in tallies), Counter())),
            "longest_recovery_s": round(max((tally.recovery_s for tally in tallies), default=0.0), 1),
        }
    )


def _names(counter: Counter[str]) -> str:
    return " ".join(f"{name}:{count}" for name, count in counter.items())
