"""Numbered experiments."""

import sys

from semcom import cli, experiments


def main(argv: list[str] | None = None) -> int:
    return cli.run(experiments.examples, argv)


if __name__ == "__main__":
    sys.exit(main())
