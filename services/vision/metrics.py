"""Prometheus metrics of the vision service."""

from prometheus_client import Counter, Gauge, Histogram

from servicekit.cache import CacheMetrics

ENCODES = Counter("autoglm_vision_encodes_total", "Pictures that went through a forward pass.")
BATCH_PICTURES = Histogram(
    "autoglm_vision_batch_pictures", "Pictures that shared one forward pass.", buckets=(1, 2, 4, 8, 16, 32)
)
PATCHES = Counter("autoglm_vision_patches_total", "Patches of pictures that are not squeezed to one size.")
DECODE_SECONDS = Histogram("autoglm_vision_decode_seconds", "Time to decode and resize one picture.")
FORWARD_SECONDS = Histogram("autoglm_vision_forward_seconds", "Time of one forward pass.")
TEXT_SECONDS = Histogram("autoglm_vision_text_seconds", "Time to look for text in one picture and read it.")
TEXT_LINES = Counter("autoglm_vision_text_lines_total", "Lines of text read in pictures.")
TEXT_CUT_SHORT = Counter(
    "autoglm_vision_text_cut_short_total", "Pictures whose text took longer than read_text_seconds."
)
TEXT_FAILURES = Counter("autoglm_vision_text_failures_total", "Pictures whose text could not be read.")
IN_WORK = Gauge("autoglm_vision_pictures_in_work", "Pictures being decoded, waiting or in a forward pass.")

CACHE = CacheMetrics.of("vision", "Pictures")
