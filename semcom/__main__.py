import sys

from semcom import cli

if __name__ == "__main__":
    sys.exit(cli.run(cli.package, None))
