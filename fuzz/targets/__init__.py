"""All targets; those of venues come from the venues' registries: a new venue is fuzzed without a line here."""

from typing import Final

from fuzz.target import Target
from fuzz.targets import codec, files, gateway, http, pipeline, sinks, venues

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for module in (codec, venues, pipeline, sinks, files, gateway, http)
    for target in module.targets()
}
"""By name."""
