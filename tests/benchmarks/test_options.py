"""What commands are asked in the same words."""

import pytest
import typer

from benchmarks.options import TraceName, loads, named_urls
from benchmarks.serve_load import Endpoint, Load
from benchmarks.traces import TRACES


def test_closed_loops_come_before_open_ones() -> None:
    assert loads("1,8", "0.5") == [Load(at_once=1), Load(at_once=8), Load(per_second=0.5)]
    assert loads("", "2") == [Load(per_second=2.0)]


@pytest.mark.parametrize(("concurrency", "rate"), [("", ""), ("0", ""), ("", "-1"), ("x", ""), ("1.5", "")])
def test_what_is_no_load_is_refused(concurrency: str, rate: str) -> None:
    with pytest.raises(typer.BadParameter):
        loads(concurrency, rate)


def test_a_server_may_be_named() -> None:
    url = "http://127.0.0.1:8000"
    assert named_urls([f"vllm={url}", url], "glm") == [
        Endpoint("vllm", url, "glm"),
        Endpoint(url, url, "glm"),
    ]


def test_every_trace_can_be_chosen() -> None:
    assert {name.value for name in TraceName} == set(TRACES)
