"""The divergence report of distilled students."""

import sys

from semcom.commands import cli


def main(argv: list[str] | None = None) -> int:
    return cli.run(cli.analyse, argv)


if __name__ == "__main__":
    sys.exit(main())
