"""Distil a student from a teacher transceiver; optionally splice a hybrid."""

import sys

from semcom.commands import cli


def main(argv: list[str] | None = None) -> int:
    return cli.run(cli.distil, argv)


if __name__ == "__main__":
    sys.exit(main())
