"""What the tests of compiled code share. Importing it compiles, which takes seconds."""

import pytest

from semcom.models.kernels import native

NO_COMPILER = native.cannot_compile()
compiled_only = pytest.mark.skipif(NO_COMPILER is not None, reason=str(NO_COMPILER))
