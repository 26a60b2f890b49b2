# SPDX-License-Identifier: Apache-2.0
"""`karbor-operationengine`: fires schedules."""

from karbor.cmd import process


def main() -> None:
    from karbor.operationengine.service import OperationEngineService

    process.serve(OperationEngineService)
