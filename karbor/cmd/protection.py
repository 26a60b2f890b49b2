# SPDX-License-Identifier: Apache-2.0
"""`karbor-protection`: runs operations on checkpoints."""

from karbor.cmd import process


def main() -> None:
    from karbor.protection.service import ProtectionService

    process.serve(ProtectionService)
