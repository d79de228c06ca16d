"""What happened in a run, step by step: `record.jsonl`, written while training and read back as columns."""

from __future__ import annotations

from lrkit.records.reader import Record, read_record
from lrkit.records.writer import RecordWriter

__all__ = ["Record", "RecordWriter", "read_record"]
