# SPDX-License-Identifier: Apache-2.0
"""The `openstack` command without its start-up: run with the Python of .venv-openstack, which has nothing of Karbor.

Each line of the input is a JSON list of arguments; each line of the output a JSON list of what that command did:
exit status, what it printed, and its errors.
"""

import contextlib
import io
import json
import multiprocessing
import sys

from openstackclient import shell


def run(arguments: list[str]) -> tuple[int, str, str]:
    """Exit status, output and errors of the command."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            status = shell.main(arguments)
        except SystemExit as ended:  # what the parser does with an argument that it does not know
            status = ended.code
    return status, output.getvalue(), errors.getvalue()


if __name__ == '__main__':
    context = multiprocessing.get_context('fork')
    for line in sys.stdin:
        # Each command in a process of its own, as usual: the shell keeps its clients and their tokens in its classes.
        with context.Pool(1) as pool:
            print(json.dumps(pool.apply(run, [json.loads(line)])), flush=True)
