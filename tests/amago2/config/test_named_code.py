"""What code of others a command must be allowed to import."""

import pytest

from amago2.config.named_code import allow_options, refuse_foreign
from amago2.errors import ConfigError


def test_a_package_that_is_allowed_stands_for_its_modules() -> None:
    refuse_foreign("run", "it", ["mine", "mine.wrappers"], ["mine"])
    for allowed in ([], ["mine.wrappers"], ["mi"], ["mine2"]):
        with pytest.raises(ConfigError, match="add --allow-env mine if you trust it"):
            refuse_foreign("run", "it", ["mine"], allowed)


def test_options_name_no_module_of_a_package_that_they_name() -> None:
    assert allow_options([]) == ""
    named = allow_options(["a.b", "c", "a", "ab.c"])
    assert named == " --allow-env c --allow-env a --allow-env ab.c"
