"""`python -m services.vision`: serves the picture encoder over gRPC, until told to stop."""

from servicekit.server import serve
from services.vision.service import create_service
from services.vision.settings import VisionSettings

if __name__ == "__main__":
    serve("vision", VisionSettings, create_service)
