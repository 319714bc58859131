"""Maven coordinate → file, through jgo, whose own settings file names mirrors; the only importer of jgo.

Source: https://github.com/apposed/jgo
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tickerplant.errors import UserError

TIMEOUT_S = 30

OnBytes = Callable[[int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Coordinate:
    """One file of a Maven repository; `classifier` is empty for the main one."""

    group: str
    artifact: str
    version: str
    packaging: str = "jar"
    classifier: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `group:artifact:packaging[:classifier]:version`.

        Raises:
            ValueError: the text has fewer than four parts or more than five.
        """
        group, artifact, packaging, *classifier, version = text.split(":")
        if len(classifier) > 1:
            raise ValueError(f"not a Maven coordinate: {text}")
        return cls(group=group, artifact=artifact, version=version, packaging=packaging, classifier="".join(classifier))

    def __str__(self) -> str:
        parts = (self.group, self.artifact, self.packaging, self.classifier, self.version)
        return ":".join(part for part in parts if part)

    @property
    def path(self) -> Path:
        """Where the file lies in a repository, relative to its root."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        name = f"{self.artifact}-{self.version}{suffix}.{self.packaging}"
        return Path(*self.group.split("."), self.artifact, self.version, name)


def download(coordinate: Coordinate, repository: Path, *, on_bytes: OnBytes = lambda _: None) -> Path:
    """Download one file into the local `repository` folder and return its path; blocks.

    Args:
        coordinate: what to fetch.
        repository: a folder laid out as a Maven repository; a file that lies there already is not fetched again.
        on_bytes: told the size in bytes of each piece as it arrives.

    Raises:
        UserError: jgo is not installed, no repository answers, or none has the file.
    """
    with _network_errors(str(coordinate)):
        context = _context(repository, on_bytes)
        component = context.project(coordinate.group, coordinate.artifact).at_version(coordinate.version)
        artifact = component.artifact(classifier=coordinate.classifier, packaging=coordinate.packaging)
        return Path(artifact.resolve())


def resolve(roots: Sequence[Coordinate], repository: Path) -> tuple[Coordinate, ...]:
    """Return `roots` and all they need at run time, roots first; reads their POM files over the network."""
    with _network_errors(str(roots[0])):
        context = _context(repository, lambda _: None)
        wanted = [context.create_dependency(f"{root.group}:{root.artifact}:{root.version}") for root in roots]
        inputs, transitive = context.resolver.resolve(wanted)
    return tuple(
        Coordinate(
            group=found.artifact.groupId,
            artifact=found.artifact.artifactId,
            version=found.artifact.version,
            packaging=found.artifact.packaging,
            classifier=found.artifact.classifier,
        )
        for found in (*inputs, *transitive)
    )


def _context(repository: Path, on_bytes: OnBytes):  # type: ignore[no-untyped-def]  # noqa: ANN202  # jgo has no public stubs
    from jgo.config import GlobalSettings  # noqa: PLC0415  # 0.3 s, needed only to download
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415

    @contextmanager
    def progress(_name: str, _total_bytes: int) -> Iterator[OnBytes]:
        yield on_bytes

    def show(name: str, total_bytes: int) -> AbstractContextManager[OnBytes]:
        return progress(name, total_bytes)

    return MavenContext(
        resolver=PythonResolver(progress_callback=show),
        repo_cache=repository,
        remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
        timeout=TIMEOUT_S,
    )


@contextmanager
def _network_errors(wanted: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UserError(f"{error.name} is not installed: pip install 'tickerplant[local]'") from None
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo raises RuntimeError
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot download {wanted}: {reason}; is there a network, or a full cache folder?") from None
