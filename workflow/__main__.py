"""`python -m workflow`."""

import sys

from workflow.cli.app import main

sys.exit(main())
