"""`python -m tickerplant` is the `tickerplant` command."""

from tickerplant.cli import main

if __name__ == "__main__":
    main()
