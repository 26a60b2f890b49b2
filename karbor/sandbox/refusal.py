# SPDX-License-Identifier: Apache-2.0
"""The error that a service of the sandbox answers with."""


class Refusal(Exception):
    """A request that is answered with an error: HTTP status, message and extra headers of the answer."""

    def __init__(self, status: int, message: str, **headers: str):
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {name.replace('_', '-'): value for name, value in headers.items()}
