"""`python -m corolistener` is the same program as `corolistener`."""

import sys

from corolistener.cli import main

sys.exit(main())
