"""Ends a run on paper: judges its record and writes verdict.json, report.html and junit.xml."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from launchday.errors import RecordError
from launchday.record import (
    JUNIT_FILE,
    REPORT_FILE,
    VERDICT_FILE,
    Record,
    read_record,
    write_atomically,
)
from launchday.runs.audit import audit_record
from launchday.runs.report import render_report
from launchday.runs.verdict import Verdict, judge


def conclude(path: Path) -> tuple[Record, Verdict]:
    """Judge the record in `path` and write what people and CI read.

    Raises:
        RecordError: the record cannot be read, or the results cannot be written.
    """
    record, verdict = judge_record(path)
    write_report(record, verdict)
    write_atomically(path / JUNIT_FILE, junit(record, verdict))
    return record, verdict


def judge_record(path: Path) -> tuple[Record, Verdict]:
    """Read and judge a record, and write verdict.json if the record is ours to write."""
    record = read_record(path)
    verdict = judge(record, audit_record(path))
    text = json.dumps(asdict(verdict), indent=2, ensure_ascii=False)
    with suppress(RecordError):
        write_atomically(path / VERDICT_FILE, text + "\n")
    return record, verdict


def write_report(record: Record, verdict: Verdict) -> Path:
    """Write report.html; its path."""
    path = record.path / REPORT_FILE
    write_atomically(path, render_report(record, verdict))
    return path


def junit(record: Record, verdict: Verdict) -> str:
    """The checks as test cases, as CI systems read them; what was not judged is skipped."""
    cases = []
    for check in verdict.checks:
        inner = ""
        if check.held is None:
            inner = f"<skipped message={quoteattr(check.sentence)}/>"
        elif not check.held:
            inner = f"<failure message={quoteattr(check.sentence)}/>"
        else:
            inner = f"<system-out>{escape(check.sentence)}</system-out>"
        cases.append(
            f'  <testcase classname="launchday" name={quoteattr(check.name)}>{inner}</testcase>'
        )
    failed = sum(check.held is False for check in verdict.checks)
    skipped = sum(check.held is None for check in verdict.checks)
    suite = (
        f"<testsuite name={quoteattr(record.info.run_id)} tests={quoteattr(str(len(cases)))} "
        f'failures="{failed}" skipped="{skipped}">'
    )
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return "\n".join([head, suite, *cases, "</testsuite>"]) + "\n"
