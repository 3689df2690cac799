"""`python -m services.llm`: serves the language model over gRPC, until told to stop."""

from servicekit.server import serve
from services.llm.service import create_service
from services.llm.settings import LLMSettings

if __name__ == "__main__":
    serve("llm", LLMSettings, create_service)
