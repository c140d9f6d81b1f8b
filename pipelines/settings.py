"""Every setting, once: environment variables with the prefix FACEWARRANT_.

No setting switches a gate, a mark or a check off; there is none to find.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from policies.errors import Malformed

PREFIX = "FACEWARRANT_"
TEST_PREFIX = "FACEWARRANT_TEST_"  # for the tests alone; no setting starts so


class Settings(BaseSettings):
    """Where things are and who runs them."""

    # An empty variable counts as unset: an empty home would be the current folder.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    home: Path = Field(
        default=Path(".facewarrant"),
        description="Folder of keys, database and released files; made by 'facewarrant init'.",
    )
    organisation: str = Field(
        default="FaceWarrant Development",
        min_length=1,
        max_length=64,
        description="Who releases: named in certificates, consents and labels.",
    )
    contact: str = Field(
        default="privacy@localhost",
        min_length=1,
        max_length=200,
        description="Where people write to about their consent.",
    )
    address: str = Field(
        default="at the place of this deployment",
        min_length=1,
        max_length=200,
        description="Postal address of the organisation, as consents state it.",
    )
    organisation_type: Literal["company", "person", "public_body", "research"] = Field(
        default="company", description="What the organisation is, as consents state it."
    )
    authority: str = Field(
        default="the data protection authority of the place you live in",
        min_length=1,
        max_length=200,
        description="Supervisory authority that complaints go to, as consents state it.",
    )
    withdrawal_url: str = Field(
        default="", max_length=200, description="Where people can withdraw, beside the command."
    )
    dpia_ref: str = Field(
        default="",
        max_length=200,
        description="Reference of the data protection impact assessment; doctor warns without it.",
    )
    log_origin: str = Field(
        default="facewarrant.localhost/log",
        pattern=r"^[A-Za-z0-9._/-]{1,120}$",
        description="Name of the audit log in its checkpoints; fixed once the log has entries.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy address of the database (docs/database.md), such as "
        "postgresql+psycopg2://facewarrant@host/name; empty means SQLite in the home folder.",
    )
    key_passphrase: SecretStr | None = Field(
        default=None,
        description="Seals the file of key-encryption keys; without it the file's mode protects.",
    )
    pkcs11_library: Path | None = Field(
        default=None,
        description="PKCS#11 library of the token that keeps the key-encryption keys instead.",
    )
    pkcs11_token: str = Field(default="facewarrant", description="Label of that token.")
    pkcs11_pin: SecretStr | None = Field(default=None, description="User PIN of that token.")
    signer: str = Field(
        default="file",
        pattern=r"^(file|token:[ -~]{1,64}|https?://[!-~]{1,200})$",
        description="Where claims are signed: 'file' means pki/key.pem, 'token:LABEL' a private "
        "key in the PKCS#11 token, an address the signing service there.",
    )
    tsa_url: str = Field(
        default="",
        max_length=1000,
        description="Addresses of RFC 3161 time-stamping authorities, asked in turn, with blanks "
        "between; empty means the local one that 'facewarrant init' made, for development.",
    )
    threads: int = Field(
        default=2, ge=1, le=64, description="CPU threads for the face models of one process."
    )
    swapper: str = Field(default="geo", description="Swapper by its registered name.")
    insightface_pack: Path | None = Field(
        default=None,
        description="Folder of an InsightFace pack under the operator's own licence.",
    )
    pack_match: float | None = Field(
        default=None,
        gt=0,
        le=1.2,
        description="Identity distance (0 to 2) up to which the pack says 'match'.",
    )
    pack_mismatch: float | None = Field(
        default=None,
        gt=0,
        le=1.35,
        description="Identity distance (0 to 2) above which the pack says 'mismatch'.",
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError("the user of '~' is not known here") from error

    @property
    def database_address(self) -> str:
        """Where the database is: `database_url`, or the file in the home folder."""
        return self.database_url or f"sqlite:///{self.home / 'facewarrant.db'}"


def read_settings(**overrides: object) -> Settings:
    """Read the settings from the environment; raise Malformed naming the first wrong variable.

    A variable that is none of ours is wrong too: a misspelt one would be ignored silently.
    """
    for name in sorted(os.environ):
        field = name.upper().removeprefix(PREFIX).lower()
        ours = name.upper().startswith(PREFIX) and not name.startswith(TEST_PREFIX)
        if ours and field not in Settings.model_fields:
            raise Malformed(
                f"{name} is no setting",
                mend="unset it, or correct its name; the README lists every variable",
            )
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in detail["loc"]).upper()
        raise Malformed(
            f"{PREFIX}{name}: {detail['msg']}",
            mend="see 'Settings' in the README for every variable and its form",
        ) from error
