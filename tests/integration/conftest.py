"""Imports typer before warnings are errors: typer 0.20 uses names that click 8.5 deprecates."""

import importlib
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    importlib.import_module("typer.testing")
