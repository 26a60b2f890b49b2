# SPDX-License-Identifier: Apache-2.0
from karbor.tests.databases import database, database_url, make_database, sqlite_database

__all__ = ['database', 'database_url', 'make_database', 'sqlite_database']
