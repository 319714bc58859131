"""Secrets by reference: what a secret setting holds instead of the secret itself.

- `file:/run/secrets/x`: the file's text, without line ends at its end
- `env:NAME`: another environment variable
- `aws-secretsmanager:NAME`, `aws-secretsmanager:NAME#key`: AWS Secrets Manager, a key of it where it is JSON; region,
  credentials and endpoint are found as AWS's own tools find them
- `literal:...`: what follows, for secrets that begin like one of these
"""

import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tickerplant.errors import UserError
from tickerplant.extras import need

FILE: Final = "file:"
ENVIRONMENT: Final = "env:"
SECRETS_MANAGER: Final = "aws-secretsmanager:"
LITERAL: Final = "literal:"
CONNECT_S: Final = 3
READ_S: Final = 5
MOST_BYTES: Final = 64 * 1024

Warn = Callable[[str], None]


def is_reference(value: object) -> bool:
    """Tell whether a value stands for another."""
    return isinstance(value, str) and value.startswith((FILE, ENVIRONMENT, SECRETS_MANAGER, LITERAL))


def as_literal(secret: str) -> str:
    """Write a secret so that `resolve` gives it back."""
    return LITERAL + secret if is_reference(secret) else secret


def resolve(reference: str, environment: Mapping[str, str], warn: Warn) -> str:
    """Fetch what a reference stands for; AWS is asked each time, with time-outs of seconds.

    Args:
        warn: told one line where others may read the file.

    Raises:
        UserError: there is nothing, or it cannot be had; the text names the reference, never the secret.
    """
    scheme, _, name = reference.partition(":")
    found = _SCHEMES[scheme + ":"](name, environment, warn)
    if not found:
        raise UserError(f"{reference} is empty" if scheme != "literal" else "it is empty")
    return found


def _literal(value: str, _environment: Mapping[str, str], _warn: Warn) -> str:
    return value


def _file(name: str, _environment: Mapping[str, str], warn: Warn) -> str:
    path = Path(name).expanduser()
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
            if stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH:
                warn(f"{path} may be read by every user of this machine: chmod o-r")
        if len(content) > MOST_BYTES:
            raise UserError(f"{path} is larger than a secret can be ({MOST_BYTES} bytes)")
        return content.decode().rstrip("\r\n")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text") from None


def _variable(name: str, environment: Mapping[str, str], _warn: Warn) -> str:
    if name not in environment:
        raise UserError(f"the environment has no {name}")
    return environment[name]


def _secrets_manager(name: str, _environment: Mapping[str, str], _warn: Warn) -> str:
    secret, _, key = name.partition("#")
    text = _fetch(secret)
    if not key:
        return text
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise UserError(f"the secret {secret} is not a JSON object, so it has no key {key}")
    if key not in fields:
        raise UserError(f"the secret {secret} has no key {key}")
    return fields[key] if isinstance(fields[key], str) else json.dumps(fields[key])


def _fetch(secret: str) -> str:
    """Ask AWS; https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html."""
    need("aws")
    from botocore.config import Config  # type: ignore[import-untyped]  # noqa: PLC0415  # 0.3 s
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]  # noqa: PLC0415
    from botocore.session import Session  # type: ignore[import-untyped]  # noqa: PLC0415

    config = Config(connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"total_max_attempts": 2})
    try:
        client = Session().create_client("secretsmanager", config=config)
        try:
            answer = client.get_secret_value(SecretId=secret)
        finally:
            client.close()
    except (BotoCoreError, ClientError, ValueError) as error:
        raise UserError(f"AWS Secrets Manager does not give {secret}: {_reason(error)}") from None
    return _text(secret, answer)


def _text(secret: str, answer: Mapping[str, Any]) -> str:
    if "SecretString" in answer:
        return str(answer["SecretString"])
    try:
        return bytes(answer["SecretBinary"]).decode()
    except (KeyError, UnicodeDecodeError):
        raise UserError(f"the secret {secret} is not text") from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


_SCHEMES: Final[dict[str, Callable[[str, Mapping[str, str], Warn], str]]] = {
    FILE: _file,
    ENVIRONMENT: _variable,
    SECRETS_MANAGER: _secrets_manager,
    LITERAL: _literal,
}
