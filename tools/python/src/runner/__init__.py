"""``import runner`` is ``import runner_sdk``: one module object under two names.

The package itself is ``runner_sdk``, so that it works under its own name in a project that has a ``runner.py``, which
Python then finds first under this one.
"""

import sys

import runner_sdk
from runner_sdk import log as log
from runner_sdk import run_id as run_id

# The import system hands out what stands here when this module has run.
sys.modules[__name__] = runner_sdk
