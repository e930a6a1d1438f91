"""The engine that the `vad` section names."""

from deployments.contracts import ModelFiles, VoiceActivity
from deployments.vad.energy import EnergyVad
from deployments.vad.options import VadOptions


def load_vad(options: VadOptions, files: ModelFiles | None) -> VoiceActivity:
    """Blocks while the model loads (about 50 ms). `files` is None for `energy`. Raises BadModel."""
    if options.engine == "energy":
        return EnergyVad(options)
    from deployments.vad.silero import SileroVad  # not before it is wanted: onnxruntime takes 20 MB

    return SileroVad.load(files)
