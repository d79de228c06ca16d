"""Commands as tasks: any script, in any framework, that tells a metric; one run of it is a trial."""

from lrkit.search.command._search_command import search_command
from lrkit.search.command.command import Command
from lrkit.search.command.executor import CommandExecutor
from lrkit.search.command.outcome import CommandSearch
from lrkit.search.command.reports import Length, Report
from lrkit.search.command.sources import CsvColumn, JsonLines, Pattern, Source, TensorBoardTag
from lrkit.search.command.template import Template

__all__ = [
    "Command",
    "CommandExecutor",
    "CommandSearch",
    "CsvColumn",
    "JsonLines",
    "Length",
    "Pattern",
    "Report",
    "Source",
    "Template",
    "TensorBoardTag",
    "search_command",
]
