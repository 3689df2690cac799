"""`python -m services.speech`: serves speech over gRPC, until told to stop."""

from servicekit.server import serve
from services.speech.service import create_service
from services.speech.settings import SpeechSettings

if __name__ == "__main__":
    serve("speech", SpeechSettings, create_service)
