"""Numbered experiments."""

import sys

from semcom.commands import cli, examples


def main(argv: list[str] | None = None) -> int:
    return cli.run(examples.examples, argv)


if __name__ == "__main__":
    sys.exit(main())
