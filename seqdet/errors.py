"""The errors that seqdet raises on purpose. Each knows the exit code that the command line ends with.

Exit codes: 0 done, 2 wrong usage or configuration, 3 unreadable or invalid input, 4 done in part,
5 a missing optional dependency, 6 the output could not be written, 130 interrupted (143 by SIGTERM).

A message says what was wrong, where (file and line, frame, second) and what to do next.
"""


class SeqdetError(Exception):
    """Base of every error that seqdet raises on purpose; ``str(error)`` is fit to be shown to a user."""

    exit_code = 1


class UsageError(SeqdetError):
    """A wrong option, argument or configuration: nothing was started, nothing was written."""

    exit_code = 2


class InputError(SeqdetError):
    """An input (video, label file, data set, checkpoint) that cannot be read or is not valid."""

    exit_code = 3


class PartialInputError(InputError):
    """An input that gave less than it promised; what it gave was used and kept.

    Attributes:
        decoded: how many frames were decoded.
        promised: how many frames the container promised, or None when it does not say.
    """

    exit_code = 4

    def __init__(self, message: str, decoded: int = 0, promised: int | None = None) -> None:
        super().__init__(message)
        self.decoded = decoded
        self.promised = promised


class DivergedError(SeqdetError):
    """A training whose loss is no number any more; the last good checkpoint is kept."""

    exit_code = 4


class LostProcessError(SeqdetError):
    """One of several processes of a training was killed, is stuck or failed; what was saved is kept.

    Attributes:
        exit_code: 4, or the one with which that process failed.
    """

    exit_code = 4

    def __init__(self, message: str, exit_code: int = exit_code) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class MissingDependencyError(SeqdetError):
    """An optional dependency is not installed; the message holds the install command."""

    exit_code = 5


class OutputError(SeqdetError):
    """The output could not be written (disk full, encoder failed); what was whole before is unharmed."""

    exit_code = 6


class Terminated(KeyboardInterrupt):
    """The process was asked to stop (SIGTERM), or its terminal is gone (SIGHUP).

    It is a KeyboardInterrupt, so that whoever finalises a file or a report on Ctrl-C does so here as well.

    Attributes:
        exit_code: 128 plus the number of the signal, as shells count: 143 for SIGTERM.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.exit_code = 128 + signal_number
