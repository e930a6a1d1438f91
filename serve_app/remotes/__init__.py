"""The models behind Ray Serve handles: the contracts, spoken with a deployment, whatever becomes of its replicas."""

from serve_app.remotes.models import RemoteAsr, RemoteLlm, RemoteTts, RemoteTurn
from serve_app.remotes.plain import Remote, translated
from serve_app.remotes.sturdy import SturdyRemote

__all__ = ["Remote", "RemoteAsr", "RemoteLlm", "RemoteTts", "RemoteTurn", "SturdyRemote", "translated"]
