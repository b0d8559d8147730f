"""Makes `lab` importable from every test, whatever the import mode."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
