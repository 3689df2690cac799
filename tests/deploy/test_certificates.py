"""Development certificates: made, renewed, and for nobody else to read."""

import ssl
import stat
from pathlib import Path

from cryptography import x509

from deploy.certificates import NAMES, main


def test_every_process_gets_a_pair_of_one_authority(tmp_path: Path) -> None:
    main(["--out", str(tmp_path)])
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    for name in NAMES:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        )
        certificate = x509.load_pem_x509_certificate((tmp_path / f"{name}.pem").read_bytes())
        certificate.verify_directly_issued_by(authority)
    assert {file.name for file in tmp_path.iterdir()} == {
        f"{name}.{end}" for name in ("ca", *NAMES) for end in ("pem", "key")
    }


def test_again_renews_what_the_same_authority_signed(tmp_path: Path) -> None:
    main(["--out", str(tmp_path)])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    main(["--out", str(tmp_path), "--host", "llm.autoglm.svc", "llm"])
    changed = {file.name for file in tmp_path.iterdir() if file.read_bytes() != before[file.name]}
    assert changed == {"llm.pem", "llm.key"}
    renewed = x509.load_pem_x509_certificate((tmp_path / "llm.pem").read_bytes())
    names = renewed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["llm", "localhost", "llm.autoglm.svc"]


def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    main(["--out", str(tmp_path)])
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("*.key")} == {0o600}
