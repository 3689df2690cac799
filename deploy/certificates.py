"""`python -m deploy.certificates`: an authority and certificates to develop with. Not for production."""

import argparse
import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAMES = ("vision", "speech", "llm", "gateway", "client")
LOOPBACK = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
SLACK = dt.timedelta(minutes=5)  # between the clocks of two machines
AUTHORITY_LIFE = dt.timedelta(days=3650)
LIFE = dt.timedelta(days=90)

_SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class Authority:
    """Who signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, name: str = "AutoGLM development CA") -> "Authority":
        """A new one, known to nobody."""
        key, subject = ec.generate_private_key(ec.SECP256R1()), _named(name)
        builder = _builder(subject, subject, key, AUTHORITY_LIFE)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_SIGNS_CERTIFICATES, critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @classmethod
    def load(cls, folder: Path) -> "Authority":
        """What `save` wrote."""
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{folder / 'ca.key'} is no key of ours")
        return cls(x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()), key)

    def save(self, folder: Path) -> None:
        """Writes `ca.pem` and `ca.key`."""
        _write(folder, "ca", self.certificate, self.key)

    def issue(
        self, folder: Path, name: str, hosts: Sequence[str] = ("localhost",), life: dt.timedelta = LIFE
    ) -> None:
        """Writes `name.pem` and `name.key`, good for both ends of a connection; its first name is `name`.

        A negative `life` has ended already.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [x509.DNSName(host) for host in (name, *hosts)]
        addresses = [x509.IPAddress(address) for address in LOOPBACK]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(_named(name), self.certificate.subject, key, life)
            .add_extension(x509.SubjectAlternativeName([*alternatives, *addresses]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            # Which of two authorities of the same name signed it.
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        _write(folder, name, certificate, key)


def main(arguments: Sequence[str] | None = None) -> None:
    """Issues every certificate anew; the authority stays the same once there is one."""
    parser = argparse.ArgumentParser(description="Makes an authority and certificates to develop with.")
    parser.add_argument("--out", type=Path, default=Path("certs"), help="folder to write to")
    parser.add_argument(
        "--host", action="append", default=["localhost"], help="one more name to be called by"
    )
    parser.add_argument("names", nargs="*", default=NAMES, help=f"whose; {', '.join(NAMES)} unless given")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if (chosen.out / "ca.key").exists():
        authority = Authority.load(chosen.out)
    else:
        authority = Authority.create()
        authority.save(chosen.out)
    for name in chosen.names:
        authority.issue(chosen.out, name, chosen.host)
    print(f"{chosen.out}: certificates of {', '.join(chosen.names)} for {LIFE.days} days, signed by ca.pem")


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, life: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + life) - SLACK)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Each file is replaced whole, so that nobody reads half of one."""
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for path, content in (
        (folder / f"{name}.key", secret),
        (folder / f"{name}.pem", certificate.public_bytes(pem)),
    ):
        fresh = path.with_name(f".{path.name}")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        fresh.replace(path)


if __name__ == "__main__":
    main()
