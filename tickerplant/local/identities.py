"""Who is who on a local stack with `local.secure`: an authority, the broker's certificate, a password for each user.

All lies in `<local.home>/tls`, readable by its owner alone. The authority's key is never written: nobody can sign
another certificate that clients of this stack would trust.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tickerplant.acls import ROLES
from tickerplant.errors import UserError
from tickerplant.settings import Kafka

FOLDER: Final = "tls"
ADMIN: Final = "tickerplant"
USERS: Final = (ADMIN, *ROLES)
BROKER: Final = "broker"
PASSWORD_BYTES: Final = 24


@dataclass(frozen=True)
class Identities:
    """The files in `<local.home>/tls`."""

    folder: Path

    @classmethod
    def of(cls, home: Path) -> "Identities":
        """Name the files of a home, whether they are there or not."""
        return cls(home.expanduser().absolute() / FOLDER)

    @property
    def authority(self) -> Path:
        """Certificate of the authority, in PEM: what clients trust."""
        return self.folder / "ca.pem"

    @property
    def broker(self) -> Path:
        """Key and certificate of the broker, in PEM."""
        return self.folder / "broker.pem"

    def password_file(self, user: str) -> Path:
        """Where the password of a user stands."""
        return self.folder / f"{user}.password"

    def password(self, user: str) -> str:
        """Read the password of a user.

        Raises:
            UserError: there is no such user.
        """
        try:
            return self.password_file(user).read_text(encoding="utf-8").strip()
        except OSError:
            raise UserError(f"{user} is no user of the local broker: there are {', '.join(USERS)}") from None

    def client_values(self, user: str = ADMIN) -> dict[str, Any]:
        """Make the values of `[kafka]` by which a user is let in; empty = nothing was made yet."""
        if not self.authority.exists() or not self.password_file(user).exists():
            return {}
        return {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": user,
            "sasl_password": f"file:{self.password_file(user)}",
            "ssl_ca_location": str(self.authority),
        }


def make_identities(home: Path) -> Identities:
    """Make what is missing; what is there stays.

    Raises:
        UserError: the folder cannot be written, or trustme is not installed.
    """
    identities = Identities.of(home)
    try:
        identities.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for user in USERS:
            if not identities.password_file(user).exists():
                _write(identities.password_file(user), secrets.token_urlsafe(PASSWORD_BYTES).encode())
        if not identities.authority.exists():
            _sign(identities)
    except OSError as error:
        raise UserError(f"cannot write {identities.folder}: {error.strerror}; set local.home elsewhere") from None
    return identities


def client_of(kafka: Kafka, home: Path, user: str = ADMIN) -> Kafka:
    """Point `[kafka]` at the secure local broker as one of its users, whose identities are made where missing."""
    values = make_identities(home).client_values(user)
    password = make_identities(home).password(user)
    return Kafka.model_validate({**kafka.model_dump(), **values, "sasl_password": password})


def _sign(identities: Identities) -> None:
    """Let an authority of our own sign the broker's certificate, for clients and for its controller's port."""
    try:
        import trustme  # noqa: PLC0415  # part of the extra `local`
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # comes with it
    except ImportError:
        raise UserError("trustme is missing: pip install 'tickerplant[local]'") from None
    authority = trustme.CA(organization_name="tickerplant", organization_unit_name="local")
    leaf = authority.issue_cert(
        "127.0.0.1", "localhost", common_name=BROKER, organization_name="tickerplant", organization_unit_name="local"
    )
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(  # the only form Kafka reads
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(identities.broker, pkcs8 + leaf.cert_chain_pems[0].bytes())
    _write(identities.authority, authority.cert_pem.bytes())  # last: with it all is there


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, for its owner alone."""
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)
