"""Every metric that a process of ours exports, asked of the code that exports it."""

from prometheus_client import REGISTRY

import gateway.metrics  # noqa: F401
import servicekit.interceptors  # noqa: F401
import services.speech.metrics
import services.vision.metrics  # noqa: F401
from services.llm.engine.stats import Distributions, EngineStats
from services.llm.metrics import EngineCollector

HISTOGRAM_SUFFIXES = ("_bucket", "_count", "_sum")


def exported() -> dict[str, str]:
    """Name, as a scrape shows it but without the suffixes of a histogram, and type."""
    nothing = EngineStats(*[0] * len(EngineStats.__dataclass_fields__))
    engine = EngineCollector(lambda: nothing, Distributions())
    found = [metric for source in (REGISTRY, engine) for metric in source.collect()]
    return {
        metric.name + ("_total" if metric.type == "counter" else ""): metric.type
        for metric in found
        if metric.name.startswith("autoglm_")
    }


def family(series: str) -> str:
    """What metric a series may belong to: `autoglm_rpc_seconds_bucket` to `autoglm_rpc_seconds`."""
    suffix = next((suffix for suffix in HISTOGRAM_SUFFIXES if series.endswith(suffix)), "")
    return series.removesuffix(suffix)
