"""``python -m seqdet``: the same command line, for launchers that start modules."""

from seqdet.cli.app import main

if __name__ == "__main__":
    main()
