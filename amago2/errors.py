"""What a user is told in one sentence, without a traceback."""


class ConfigError(ValueError):
    """A parameter file or key is wrong. Its text is a clear sentence (or one line per mistake)."""


class RunError(RuntimeError):
    """A run cannot start or go on. Its text is a clear sentence."""
