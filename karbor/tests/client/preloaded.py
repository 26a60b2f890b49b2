# SPDX-License-Identifier: Apache-2.0
"""A shell without its start-up, which would be most of the time of a test: `python preloaded.py MODULE`.

The module has the function `main` of the shell, and is in the environment of that Python: this file needs nothing of
Karbor. Each line of the input is a JSON list of arguments; each line of the output a JSON list of what that command
did: exit status, what it printed, and its errors.
"""

import contextlib
import importlib
import io
import json
import multiprocessing
import sys

shell = importlib.import_module(sys.argv[1])


def run(arguments: list[str]) -> tuple[int, str, str]:
    """Exit status, output and errors of the command."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = shell.main(arguments)
        except SystemExit as ended:
            status = ended.code
    return status or 0, output.getvalue(), errors.getvalue()


if __name__ == '__main__':
    context = multiprocessing.get_context('fork')
    for line in sys.stdin:
        # Each command in a process of its own, as usual: the shells keep clients and their tokens in their classes.
        with context.Pool(1) as pool:
            print(json.dumps(pool.apply(run, [json.loads(line)])), flush=True)
