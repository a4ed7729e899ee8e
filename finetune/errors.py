"""Errors that a user can cause and mend."""

from __future__ import annotations


class TurncoatError(Exception):
    """A mistake in what was given: says what was given, what was expected and what to do.

    The command line prints the message alone, without a traceback, and exits with code 2.
    """
