"""`python -m services.vision`: serves the picture encoder over gRPC."""

from functools import partial

from servicekit.server import serve
from servicekit.settings import load_settings
from services.vision.service import create_service
from services.vision.settings import VisionSettings


def main() -> None:
    """Serves until told to stop."""
    settings = load_settings("vision", VisionSettings)
    serve(partial(create_service, settings), settings, "vision")


if __name__ == "__main__":
    main()
