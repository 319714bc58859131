"""The command `tickerplant` for roles that end with their supervisor: `python -m tickerplant.supervised ARGUMENTS`.

Standard input is a pipe whose other end the supervisor alone holds. However that ends, by SIGKILL too, so does the
pipe: the role drains as by SIGTERM, and is ended where that takes too long. Else it would go on for ever, restarted by
nobody and known to nobody.
"""

import os
import signal
import threading
import time
from typing import Final

STDIN: Final = 0
STOP_WAIT_S: Final = 9.5
"""All roles together have this long to drain, within the 10 s that containers are given; then they are killed, which
loses nothing that Kafka has: it is read again."""


def end_with_supervisor() -> None:
    """End this process, from a thread, where its standard input ends; what comes there is passed over."""
    threading.Thread(target=_watch, name="supervisor", daemon=True).start()


def _watch() -> None:
    while os.read(STDIN, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_WAIT_S)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    end_with_supervisor()
    from tickerplant.cli import main  # it takes a second, in which the supervisor may end

    main()
