"""What the gateway counts."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("autoglm_http_requests_total", "Requests answered.", ["route", "status"])
SECONDS = Histogram("autoglm_http_request_seconds", "Time from request to the end of its answer.", ["route"])
FIRST_TOKEN_SECONDS = Histogram("autoglm_first_token_seconds", "Time from chat request to its first token.")
STREAMS = Gauge("autoglm_active_streams", "Answers being streamed.")
TOKENS = Counter("autoglm_tokens_total", "Tokens of finished answers.", ["kind"])
REALTIME_SESSIONS = Gauge("autoglm_realtime_sessions", "Open realtime connections.")
