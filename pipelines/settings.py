"""Every setting, once: environment variables with the prefix FACEWARRANT_.

No setting switches a gate, a mark or a check off; there is none to find.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from policies.errors import Malformed


class Settings(BaseSettings):
    """Where things are and who runs them."""

    model_config = SettingsConfigDict(env_prefix="FACEWARRANT_", extra="forbid", frozen=True)

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
    log_origin: str = Field(
        default="facewarrant.localhost/log",
        pattern=r"^[A-Za-z0-9._/-]{1,120}$",
        description="Name of the audit log in its checkpoints; fixed once the log has entries.",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy address of the database; empty means SQLite in the home folder.",
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
        default=None, gt=0, description="Identity distance up to which the pack says 'match'."
    )
    pack_mismatch: float | None = Field(
        default=None, gt=0, description="Identity distance above which the pack says 'mismatch'."
    )

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


def read_settings(**overrides: object) -> Settings:
    """Read the settings from the environment; raise Malformed naming the first wrong variable."""
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in detail["loc"]).upper()
        raise Malformed(
            f"FACEWARRANT_{name}: {detail['msg']}",
            mend="see 'Settings' in the README for every variable and its form",
        ) from error
