# SPDX-License-Identifier: Apache-2.0
"""How Sphinx builds the release notes, which reno reads out of the git history: `make docs`."""

project = 'Karbor release notes'
copyright = 'Karbor contributors'

extensions = ['reno.sphinxext']

html_theme = 'alabaster'
html_theme_options = {'page_width': '1100px'}
html_show_copyright = False
