"""The results as a table for the terminal, as Markdown, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from bench.bench import Scale
from bench.figures import OURS, Figure, Result, Spread, Verdict
from bench.measures import Measure

_HEADINGS = ["", "ntfyish", "nchan", "other", "goals"]


def title(measure: Measure, scale: Scale) -> str:
    """Return the measure's title with the figures of the scale in it."""
    return measure.title.format(**asdict(scale))


def table(measures: Sequence[Measure], results: Mapping[str, Result], scale: Scale) -> str:
    """Return all results as text."""
    rows = [_HEADINGS]
    for measure in measures:
        result = results[measure.name]
        rows.append([f"{measure.name}: {title(measure, scale)}"])
        rows += [
            [f"  {figure.text}, {figure.unit}", *_cells(measure, figure, result)]
            for figure in measure.figures
        ]
    widths = [max(len(row[i]) for row in rows if len(row) > i and len(row) > 1) for i in range(4)]
    lines = []
    for row in rows:
        if len(row) == 1:
            lines += ["", row[0]]
        else:
            lines.append(
                "  ".join(cell.ljust(widths[i]) if i < 4 else cell for i, cell in enumerate(row)).rstrip()
            )
    return "\n".join(lines)


def markdown(measures: Sequence[Measure], results: Mapping[str, Result], scale: Scale) -> str:
    """Return all results as one Markdown table."""
    lines = ["| measure | ntfyish | nchan | other | goals |", "|---|---|---|---|---|"]
    for measure in measures:
        result = results[measure.name]
        lines.append(f"| **{measure.name}**: {title(measure, scale)} | | | | |")
        for figure in measure.figures:
            cells = _cells(measure, figure, result)
            lines.append(f"| {figure.text}, {figure.unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def document(
    measures: Sequence[Measure],
    results: Mapping[str, Result],
    scale: Scale,
    environment: Mapping[str, str],
    problems: Sequence[str],
) -> dict[str, object]:
    """Return everything for the JSON file: the samples themselves and what they come to."""
    return {
        "environment": dict(environment),
        "scale": asdict(scale),
        "problems": list(problems),
        "measures": {measure.name: _measure(measure, results[measure.name], scale) for measure in measures},
    }


def verdicts(measure: Measure, result: Result) -> list[Verdict]:
    """Return how each goal came out."""
    return [result.judge(goal) for goal in measure.goals]


def _measure(measure: Measure, result: Result, scale: Scale) -> dict[str, object]:
    figures: dict[str, dict[str, object]] = {}
    for figure in measure.figures:
        entry: dict[str, object] = {"text": figure.text, "unit": figure.unit}
        for server in measure.servers:
            if spread := result.spread(server, figure.name):
                entry[server] = asdict(spread)
            if server != OURS and (ratio := result.ratio(figure.name, server)):
                entry[f"ratio to {server}"] = asdict(ratio)
        figures[figure.name] = entry
    goals = [
        {
            "figure": verdict.goal.figure,
            "goal": verdict.goal.text,
            "value": verdict.value,
            "reached": verdict.reached,
        }
        for verdict in verdicts(measure, result)
    ]
    return {"title": title(measure, scale), "figures": figures, "goals": goals, "samples": result.samples}


def _cells(measure: Measure, figure: Figure, result: Result) -> list[str]:
    peers = [_peer(server, figure, result) for server in measure.servers[1:]]
    nchan = next(
        (text for server, text in zip(measure.servers[1:], peers, strict=True) if server == "nchan"), ""
    )
    others = [text for server, text in zip(measure.servers[1:], peers, strict=True) if server != "nchan"]
    goals = [_verdict(verdict) for verdict in verdicts(measure, result) if verdict.goal.figure == figure.name]
    return [
        _spread(result.spread(OURS, figure.name)),
        nchan,
        "; ".join(filter(None, others)),
        "; ".join(goals),
    ]


def _peer(server: str, figure: Figure, result: Result) -> str:
    spread = result.spread(server, figure.name)
    if spread is None:
        return ""
    ratio = result.ratio(figure.name, server)
    name = "" if server == "nchan" else f"{server} "
    return f"{name}{_spread(spread)}" + (f" (x {_number(ratio.median)})" if ratio else "")


def _verdict(verdict: Verdict) -> str:
    word = {True: "pass", False: "FAIL", None: "not measured"}[verdict.reached]
    value = f": {_number(verdict.value)}" if verdict.value is not None and verdict.goal.peer else ""
    return f"{verdict.goal.text}{value} {word}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return f"{_number(spread.median)} [{_number(spread.least)}..{_number(spread.greatest)}]"


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else "0"
