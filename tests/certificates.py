"""Real certificates for tests, all of one authority."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.certificates import LIFE, Authority
from servicekit.settings import KeyPair, TLSSettings

EXPIRED = dt.timedelta(days=-1)


@dataclass(frozen=True)
class Certificates:
    """A folder of certificates; names are issued when they are first asked for."""

    folder: Path
    authority: Authority

    @classmethod
    def create(cls, folder: Path) -> "Certificates":
        folder.mkdir(parents=True)
        authority = Authority.create()
        authority.save(folder)
        return cls(folder, authority)

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def issue(self, name: str, life: dt.timedelta = LIFE) -> None:
        """Issues it anew, over the one before."""
        self.authority.issue(self.folder, name, life=life)

    def pair(self, name: str) -> KeyPair:
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        if not certificate.exists():
            self.issue(name)
        return KeyPair(certificate=certificate, key=key)

    def mutual(self, name: str, **changes: Any) -> TLSSettings:
        """Both sides show certificates of our authority."""
        pair = self.pair(name)
        known = {"certificate": pair.certificate, "key": pair.key, "client_ca": self.ca, "ca": self.ca}
        return TLSSettings(**{**known, **changes})
