"""The command line of the benchmark: builds, measures in interleaved rounds, prints, writes the record."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import report
from bench.bench import QUICK, Bench, Scale
from bench.figures import Result
from bench.machine import BenchError, alone, choose_cores, describe, file_system_of, raise_descriptor_limit
from bench.measures import MEASURES, Measure
from bench.profile import Profiler
from bench.programs import BENCH, Programs, build
from bench.servers import ROOT, Stable, find_nchan

_DISTURBED = 0.25
_IN_MEMORY = ("tmpfs", "ramfs")


def main() -> int:
    """Run what the command line asks for.

    Returns:
        0; 1 if anything was lost, doubled, in another order or refused, or could not be measured; with
        ``--strict`` 3 if a goal was missed.
    """
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers and folders must go then, too
    if options.list:
        print(_listing())
        return 0
    try:
        measures = _chosen([options.profile] if options.profile else options.only)
        programs = build()
        with alone(BENCH / "build" / "lock"):
            return _run(measures, programs, options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="ntfyish beside its peers.")
    parser.add_argument("--list", action="store_true", help="list the measures and their goals")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these measures only")
    parser.add_argument("--rounds", type=_positive, metavar="N", help="rounds (3; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="a small load, to see that everything works")
    parser.add_argument("--subscribers", type=_positive, metavar="N", help="subscribers (10000)")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="where the databases go (the folder for temporary files)"
    )
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--strict", action="store_true", help="status 3 if a goal is missed")
    parser.add_argument("--profile", metavar="NAME", help="profile ntfyish in one round of this measure")
    parser.add_argument("--perf", action="store_true", help="with --profile: use perf instead of cProfile")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def _listing() -> str:
    lines = []
    for measure in MEASURES:
        lines.append(f"{measure.name:<10} {report.title(measure, Scale())}  ({', '.join(measure.servers)})")
        texts = {figure.name: f"{figure.text}, {figure.unit}" for figure in measure.figures}
        lines += [f"{'':<13}{texts[goal.figure]} {goal.text}" for goal in measure.goals]
    return "\n".join(lines)


def _chosen(names: Sequence[str] | None) -> list[Measure]:
    known = {measure.name: measure for measure in MEASURES}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise BenchError(f"there is no measure {', '.join(unknown)}; there are {', '.join(known)}")
    return [measure for measure in MEASURES if not names or measure.name in names]


def _run(measures: list[Measure], programs: Programs, options: argparse.Namespace) -> int:
    scale = QUICK if options.quick else Scale()
    if options.subscribers:
        scale = replace(scale, subscribers=options.subscribers)
    raise_descriptor_limit(scale.subscribers)
    cores = choose_cores()
    os.sched_setaffinity(0, {cores.generator})
    results_folder = BENCH / "results"
    results_folder.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    profiler = _profiler(results_folder / f"{stamp}-profile", options)
    work = Path(tempfile.mkdtemp(prefix="ntfyish-bench-", dir=options.dir))
    try:
        if file_system_of(work) in _IN_MEMORY:
            _say(f"warning: {work} is in memory, where fsync costs nothing; take a disk with --dir")
        environment = describe(ROOT, work)
        stable = Stable(programs, work, cores.server, profiler.wrap if profiler else list)
        bench = Bench(programs, stable, cores, scale, profiler)
        rounds = 1 if profiler else options.rounds or (1 if options.quick else 3)
        results = _measure_all(bench, measures, rounds, _absent(alone=options.alone or profiler is not None))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    document = report.document(measures, results, scale, environment, bench.problems)
    record = results_folder / f"{stamp}.json"
    record.write_text(json.dumps({"rounds": rounds, **document}, indent=1) + "\n")
    _print(measures, results, bench, environment, rounds, markdown=options.markdown)
    _say(f"\nwritten to {record.relative_to(ROOT)}")
    if profiler is not None:
        print(profiler.report())
    if bench.problems:
        return 1
    missed = any(
        verdict.reached is False for m in measures for verdict in report.verdicts(m, results[m.name])
    )
    return 3 if options.strict and missed else 0


def _profiler(folder: Path, options: argparse.Namespace) -> Profiler | None:
    if not options.profile:
        return None
    folder.mkdir()
    return Profiler(folder, options.perf)


def _absent(*, alone: bool) -> frozenset[str]:
    """Return the peers that cannot or shall not take part."""
    if alone:
        return frozenset({"nchan", "send", "commit-each", "sender", "aioapns"})
    try:
        find_nchan()
    except BenchError as error:
        _say(f"{error}: its goals cannot be judged")
        return frozenset({"nchan"})
    return frozenset()


def _measure_all(
    bench: Bench, measures: list[Measure], rounds: int, absent: frozenset[str]
) -> dict[str, Result]:
    results = {}
    for measure in measures:
        servers = [name for name in measure.servers if name not in absent]
        result = results[measure.name] = Result(measure.name, {name: [] for name in servers})
        for number in range(rounds):
            turn = number % len(servers)
            for name in servers[turn:] + servers[:turn]:  # nobody is always the first
                bench.where = f"{measure.name}, {name}, round {number + 1}"
                begun = time.monotonic()
                result.samples[name].append(measure.take(bench, name))
                _say(f"{bench.where}: {time.monotonic() - begun:.1f} s")
    return results


def _print(
    measures: list[Measure],
    results: dict[str, Result],
    bench: Bench,
    environment: dict[str, str],
    rounds: int,
    *,
    markdown: bool,
) -> None:
    facts = "; ".join(f"{name}: {text}" for name, text in environment.items() if text)
    print(f"{facts}; rounds: {rounds}\n")
    draw = report.markdown if markdown else report.table
    print(draw(measures, results, bench.scale))
    if bench.scale != Scale() or rounds < 3:
        print("\nA small load or few rounds: this shows that it works, not how fast it is.")
    if bench.disturbance > _DISTURBED:
        print(
            f"\nOther processes used up to {bench.disturbance:.0%} of a core meanwhile: better repeat this."
        )
    if bench.problems:
        print("\nWRONG, whatever the speed:\n" + "\n".join(f"  {problem}" for problem in bench.problems))
    else:
        print("\nNothing was lost, doubled, or in another order.")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
