#!/usr/bin/env python3
"""Draws the dashboards from a Prometheus, without Grafana: one PNG each, with the panels at their Grafana positions.

    pip install matplotlib
    deploy/grafana/draw.py --prometheus http://127.0.0.1:9090 --minutes 10 --out pictures

Exit code 1 when a panel's query gives nothing to draw.
"""

import argparse
import datetime
import json
import math
import pathlib
import sys
import textwrap
import time
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.dates
import matplotlib.pyplot as plt
import matplotlib.ticker

PAPER, PANEL, TEXT, DIM = "#111217", "#181b1f", "#ccccdc", "#7b7f8c"
POINTS = 240


def scaled(value, step, names, digits=3):
    at = 0
    while abs(value) >= step and at < len(names) - 1:
        value, at = value / step, at + 1
    return f"{value:.{digits}g} {names[at]}".strip()


def label(unit, value, seconds_now):
    """A value formatted as Grafana does in this unit."""
    if not math.isfinite(value):
        return "-"
    match unit:
        case "bytes":
            return scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"], 4)
        case "Bps":
            return scaled(value, 1000, ["B/s", "kB/s", "MB/s", "GB/s"])
        case "ops" | "reqps":
            return scaled(value, 1000, ["/s", "k/s", "M/s"])
        case "percentunit":
            return f"{value * 100:.3g} %"
        case "dateTimeFromNow":
            return f"{(seconds_now - value / 1000) / 60:.1f} min ago"
        case "s" if value and abs(value) < 1:
            return f"{value * 1e3:.3g} ms" if abs(value) >= 1e-3 else f"{value * 1e6:.3g} µs"
        case "s":
            return f"{value:.3g} s"
    return scaled(value, 1000, ["", "k", "M", "G"])


class Prometheus:
    def __init__(self, url, minutes):
        self.url, self.end = url, time.time()
        self.begin = self.end - minutes * 60
        self.step = max(1, minutes * 60 / POINTS)

    def ask(self, query, over_time):
        for name, value in (("$__rate_interval", f"{max(5, int(4 * self.step))}s"), ("$instance", ".+"), ("$shard", ".+")):
            query = query.replace(name, value)
        form = {"query": query, "time": self.end}
        if over_time:
            form = {"query": query, "start": self.begin, "end": self.end, "step": self.step}
        path = "query_range" if over_time else "query"
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(form)}"
        with urllib.request.urlopen(url, timeout=30) as reply:
            return json.load(reply)["data"]["result"]


def series_name(legend, metric):
    for name, value in metric.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend


def points(series):
    times = [datetime.datetime.fromtimestamp(at) for at, _ in series["values"]]
    return times, [float(value) for _, value in series["values"]]


def last(series):
    return float(series["value"][1] if "value" in series else series["values"][-1][1])


def draw(prometheus, panel, axes):
    """Draws one panel; returns whether it had data."""
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    unit, kind = defaults.get("unit", "short"), panel["type"]
    over_time = kind in ("timeseries", "heatmap")
    found = []
    for target in panel["targets"]:
        for series in prometheus.ask(target["expr"], over_time):
            found.append((series_name(target.get("legendFormat", ""), series["metric"]), series))
    axes.set_facecolor(PANEL)
    axes.set_title(panel["title"], loc="left", fontsize=9, color=TEXT, fontweight="bold")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(colors=DIM, labelsize=7, length=0)
    shown = lambda value, _=None: label(unit, value, prometheus.end)
    if kind == "timeseries":
        for name, series in found:
            axes.plot(*points(series), linewidth=1, label=textwrap.shorten(name, 44) or "value")
        axes.grid(color="#2a2d34", linewidth=0.5)
        axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(shown))
        axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M"))
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
        if defaults.get("min") == 0:
            axes.set_ylim(bottom=0)
        if found:
            axes.legend(fontsize=6, loc="upper left", framealpha=0.4, facecolor=PANEL, edgecolor="none", labelcolor=TEXT, ncols=2)
    elif kind == "heatmap":
        found.sort(key=lambda pair: float(pair[1]["metric"]["le"]))
        rows, before = [], None
        for _, series in found:
            values = points(series)[1]
            rows.append([max(0, a - b) for a, b in zip(values, before or [0] * len(values))])
            before = values
        if rows:
            times = matplotlib.dates.date2num(points(found[0][1])[0])
            width = min(len(row) for row in rows)
            axes.pcolormesh(times[:width], range(len(rows)), [row[:width] for row in rows], cmap="Oranges_r", shading="nearest")
            axes.xaxis_date()
            axes.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%H:%M"))
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
            bounds = [series["metric"]["le"] for _, series in found]
            axes.set_yticks(range(0, len(bounds), 2), [shown(float(bound)) for bound in bounds[::2]])
    elif kind == "bargauge":
        names, values = [name for name, _ in found], [last(series) for _, series in found]
        axes.barh(range(len(values)), values, height=0.6, color="#73bf69")
        axes.set_yticks(range(len(values)), [textwrap.shorten(name, 30) for name in names])
        axes.set_xlim(0, defaults.get("max"))
        axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(shown))
        for at, value in enumerate(values):
            axes.text(value, at, f" {shown(value)}", color=TEXT, fontsize=8, va="center")
    else:
        axes.set_xticks([])
        axes.set_yticks([])
        if kind == "stat":
            for at, (name, series) in enumerate(found[:4]):
                height = 1 - (at + 0.5) / min(len(found), 4)
                color = TEXT
                for step in defaults.get("thresholds", {}).get("steps", []):
                    if step["value"] is None or last(series) >= step["value"]:
                        color = {"green": "#73bf69", "red": "#f2495c", "orange": "#ff9830"}.get(step["color"], TEXT)
                axes.text(0.97, height, shown(last(series)), color=color, ha="right", va="center", fontsize=17 if len(found) == 1 else 11)
                axes.text(0.02, height, textwrap.shorten(name, 26), color=DIM, va="center", fontsize=7)
        else:
            for at, (_, series) in enumerate(found[:10]):
                labels = {k: v for k, v in series["metric"].items() if k not in ("__name__", "job", "infohash")}
                line = "  ".join(f"{k}={v}" for k, v in sorted(labels.items()))
                axes.text(0.01, 0.95 - at * 0.1, f"{line}   {shown(last(series))}", color=TEXT, fontsize=6.5, va="top", clip_on=True)
    if not found:
        axes.text(0.5, 0.5, "no data", color="#f2495c", ha="center", transform=axes.transAxes)
    return bool(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", help="address of the Prometheus")
    parser.add_argument("--minutes", type=float, default=15, help="how far back")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), help="directory of the pictures")
    arguments = parser.parse_args()
    prometheus = Prometheus(arguments.prometheus, arguments.minutes)
    arguments.out.mkdir(parents=True, exist_ok=True)
    empty = []
    for path in sorted(pathlib.Path(__file__).parent.glob("dashboards/*.json")):
        dashboard = json.loads(path.read_text())
        rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in dashboard["panels"])
        figure = plt.figure(figsize=(16, rows * 0.36 + 0.5), facecolor=PAPER)
        figure.suptitle(dashboard["title"], x=0.01, y=1 - 0.1 / (rows * 0.36 + 0.5), ha="left", va="top", color=TEXT, fontsize=12)
        top = 1 - 0.5 / (rows * 0.36 + 0.5)
        for panel in dashboard["panels"]:
            at = panel["gridPos"]
            left, height = at["x"] / 24, top * at["h"] / rows
            bottom = top - top * at["y"] / rows - height
            if panel["type"] == "row":
                figure.text(0.01, bottom + height / 2, panel["title"], color=TEXT, fontsize=10, va="center")
                continue
            inset = 0.045 if panel["type"] in ("timeseries", "heatmap") else 0.09 if panel["type"] == "bargauge" else 0.008
            axes = figure.add_axes((left + inset, bottom + height * 0.12, at["w"] / 24 - inset - 0.008, height * 0.7))
            if not draw(prometheus, panel, axes):
                empty.append(f"{dashboard['title']}: {panel['title']}")
        figure.savefig(arguments.out / f"{path.stem}.png", dpi=90, facecolor=PAPER)
        plt.close(figure)
        print(f"{path.stem}.png: {sum(p['type'] != 'row' for p in dashboard['panels'])} panels")
    for name in empty:
        print(f"nothing to draw: {name}", file=sys.stderr)
    return 1 if empty else 0


if __name__ == "__main__":
    sys.exit(main())
