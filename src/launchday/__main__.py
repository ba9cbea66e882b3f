"""`python -m launchday`."""

from launchday.cli import main

main()
