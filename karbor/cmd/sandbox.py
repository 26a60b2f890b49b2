# SPDX-License-Identifier: Apache-2.0
"""karbor-sandbox: the sandbox cloud by itself, in the foreground."""

import argparse
import json
import signal
import sys
import threading

from karbor.sandbox.cloud import Sandbox


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT, then exit status 0; one JSON line on standard output when ready."""
    parser = argparse.ArgumentParser(
        prog='karbor-sandbox', description='A small Keystone, Manila and Trove on the loopback.'
    )
    parser.add_argument('--port', type=int, default=0, help='port to listen on (default: a free one)')
    parser.add_argument('--state-dir', help='where the data is while it runs (default: a temporary directory)')
    parser.add_argument('--karbor-url', help='where Karbor is, without /v1, for the catalog')
    parser.add_argument('--speed', type=float, default=1.0, help='how many times faster than usual work is done')
    given = parser.parse_args(argv)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        sandbox = Sandbox(given.state_dir, given.port, given.karbor_url, given.speed)
    except OSError as error:
        print(f'karbor-sandbox: {error}', file=sys.stderr)
        return 1
    with sandbox:
        print(json.dumps(sandbox.ready()), flush=True)
        ended.wait()
    return 0


if __name__ == '__main__':
    sys.exit(main())
