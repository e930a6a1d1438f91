"""What plain faster-whisper understands of sound files: the measure for a server's transcripts.

python -m loadtest.plain_whisper FILE.wav… --model NAME_OR_FOLDER [--compute-type int8] [--language en]

A JSON object a file, a line each: `file` and `text`. Everything is as faster-whisper has it by default; the model is
one that it knows by name, or a folder with one.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtest.wav import BadRecording, read_speech

RATE_HZ = 16_000


def transcripts(model: str, compute_type: str, language: str, files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each file and its words. Raises ImportError without faster-whisper, BadRecording, and what it raises itself."""
    from faster_whisper import WhisperModel

    whisper = WhisperModel(model, device="cpu", compute_type=compute_type)
    for file in files:
        pcm = read_speech(file, RATE_HZ)
        segments, _ = whisper.transcribe(pcm.astype("float32") / 32768, language=language)
        yield file, " ".join(segment.text.strip() for segment in segments)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 2, with one line, for a file or a model that cannot be used."""
    about = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m loadtest.plain_whisper", description=about)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.wav")
    parser.add_argument("--model", required=True, metavar="NAME_OR_FOLDER")
    parser.add_argument("--compute-type", default="int8", help="(%(default)s)")
    parser.add_argument("--language", default="en", help="(%(default)s)")
    args = parser.parse_args(argv)
    try:
        for file, text in transcripts(args.model, args.compute_type, args.language, args.files):
            print(json.dumps({"file": str(file), "text": text}), flush=True)
    except (ImportError, BadRecording, ValueError, RuntimeError, OSError) as wrong:
        print(f"loadtest.plain_whisper: {wrong}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
