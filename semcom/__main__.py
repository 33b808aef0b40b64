import sys

from semcom.commands import cli

if __name__ == "__main__":
    sys.exit(cli.run(cli.package, None))
