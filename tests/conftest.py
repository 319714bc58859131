"""Fixtures of all tests: one local stack for the session, and the recordings beside the project."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings

from tickerplant.deploy import deploy
from tickerplant.local import stack as local_stack
from tickerplant.local.ports import with_local
from tickerplant.settings import Settings

hypothesis_settings.register_profile("tickerplant", deadline=None)  # no test is timed: machines are shared
hypothesis_settings.load_profile("tickerplant")

RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of recorded venue messages; tests that need it are skipped where it is absent."""
    if not RECORDINGS.is_dir():
        pytest.skip(f"no recordings at {RECORDINGS}")
    return RECORDINGS


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running, deployed local stack, one for the session: keep to symbols and groups of your own."""
    settings = with_local(Settings(), tmp_path_factory.mktemp("stack"), keep_free_ports=False)
    local_stack.up(settings, print)
    try:
        deploy(settings)
        yield settings
    finally:
        local_stack.down(settings, print)
