"""`python -m services.speech`: serves speech over gRPC."""

from functools import partial

from servicekit.server import serve
from servicekit.settings import load_settings
from services.speech.service import create_service
from services.speech.settings import SpeechSettings


def main() -> None:
    """Serves until told to stop."""
    settings = load_settings("speech", SpeechSettings)
    serve(partial(create_service, settings), settings, "speech")


if __name__ == "__main__":
    main()
