"""The error tree of processing.

ProcessorError
├── FrameError   a frame that cannot be used; it goes to the dead letters with its reason
│   ├── OtherFrameError   it is seen to tell nothing of a book
│   └── PartlyUsedError   what it tells of other symbols was used
└── StateError   a piece of state that this version cannot read
    └── StateVersionError   a newer program wrote it
"""


class ProcessorError(Exception):
    """Base of what goes wrong in processing."""


class FrameError(ProcessorError):
    """A frame cannot be used; its text says why."""

    may_change_books = True


class OtherFrameError(FrameError):
    """A frame cannot be used, but changes no book, whatever it tells."""

    may_change_books = False


class PartlyUsedError(FrameError):
    """A frame tells what cannot be used, as of symbols that no list names, and more, which was used."""


class StateError(ProcessorError):
    """A piece of state cannot be read; its text says which and why."""


class StateVersionError(StateError):
    """A newer program wrote it."""
