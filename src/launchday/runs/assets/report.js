// Draws the charts of a report from DATA (one entry a run). Nothing is fetched.
"use strict";
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// Bands for faults and lines between phases, drawn under the series.
function bands(run) {
  return {
    hooks: {
      drawClear: (u) => {
        const { ctx } = u, { top, height } = u.bbox;
        const at = (t) => u.valToPos(t, "x", true);
        ctx.save();
        ctx.fillStyle = css("--fault-band");
        for (const [, start, end] of run.faults) ctx.fillRect(at(start), top, at(end) - at(start), height);
        ctx.strokeStyle = css("--grid");
        ctx.fillStyle = css("--muted");
        ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
        for (const [name, start, end] of run.phases) {
          ctx.beginPath();
          ctx.setLineDash([3, 3]);
          ctx.moveTo(at(start), top);
          ctx.lineTo(at(start), top + height);
          ctx.stroke();
          const room = at(end) - at(start);
          if (ctx.measureText(name).width + 8 * devicePixelRatio < room) ctx.fillText(name, at(start) + 4, top + 12 * devicePixelRatio);
        }
        ctx.restore();
      },
    },
  };
}

function options(run, panel, element, series, max, plugins, y = {}) {
  const axis = { stroke: css("--muted"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid") } };
  return {
    width: element.clientWidth, height: panel.height, series, plugins: [bands(run), ...plugins],
    cursor: { sync: { key: "run-" + run.number } },
    scales: { x: { time: false }, y: { range: () => [0, Math.max(1, max) * 1.12], ...y.scale } },
    axes: [
      { ...axis, space: 50, incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600], values: (u, ticks) => ticks.map((t) => t + " s") },
      { ...axis, size: 64, values: (u, ticks) => ticks.map((t) => t + panel.unit), ...y.axis },
    ],
  };
}

const seconds = { label: "second", value: (u, v) => (v == null ? "–" : v + " s") };
const told = (value, unit) => (value == null ? "–" : value + unit);
// One more than there are: what belongs to the last second is drawn to its end.
const inSeconds = (run) => Array.from({ length: run.seconds + 1 }, (_, second) => second);
// A run that was stopped has fewer seconds than its schedule, whose length every chart has.
const padded = (run, values) => inSeconds(run).map((second) => values[second] ?? null);

function lines(run, panel, element, max) {
  const series = panel.series.map((each) => ({
    label: each.label, stroke: css(each.colour), dash: each.dash, width: each.limit ? 1 : 2,
    points: { show: false }, spanGaps: false, value: (u, v) => told(v, panel.unit),
  }));
  const data = panel.series.map((each) => padded(run, each.values));
  return new uPlot(options(run, panel, element, [seconds, ...series], max, []), [inSeconds(run), ...data], element);
}

// Stacked: each series is drawn as the sum of itself and those below it, the highest first.
function stacked(run, panel, element, max) {
  const below = inSeconds(run).map(() => 0);
  const layers = panel.series.map((each) => {
    const values = padded(run, each.values);
    return { ...each, values, top: values.map((n, i) => (below[i] += n ?? 0)) };
  });
  const series = [seconds], data = [inSeconds(run)];
  for (const each of layers.reverse()) {
    series.push({
      label: each.label, stroke: css(each.colour), fill: css(each.colour), width: 0, points: { show: false },
      paths: uPlot.paths.bars({ size: [1, Infinity], align: 1 }),
      value: (u, v, s, index) => (index == null ? "–" : told(each.values[index], panel.unit)),
    });
    data.push(each.top);
  }
  return new uPlot(options(run, panel, element, series, max, []), data, element);
}

// A lane for each series: its name above a bar, whose colour and word say the state.
const LANE = 40;
function lanes(run, panel, element) {
  const draw = (u) => {
    const { ctx } = u, ratio = devicePixelRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
    ctx.clip();
    ctx.font = `${12 * ratio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    panel.series.forEach((each, row) => {
      const top = u.bbox.top + (18 + row * LANE) * ratio;
      ctx.fillStyle = css("--text");
      ctx.fillText(each.label, u.bbox.left + 4 * ratio, top + 12 * ratio);
      for (let start = 0, end; start < each.values.length; start = end) {
        for (end = start + 1; end < each.values.length && each.values[end] === each.values[start]; ) end++;
        if (each.values[start] == null) continue;
        const [word, colour] = panel.states[each.values[start]];
        const left = u.valToPos(start, "x", true), width = u.valToPos(end, "x", true) - left;
        ctx.fillStyle = css(colour);
        ctx.fillRect(left, top + 17 * ratio, width, 16 * ratio);
        ctx.fillStyle = css(colour === "--grid" ? "--text" : "--page");
        if (ctx.measureText(word).width + 8 * ratio < width) ctx.fillText(word, left + 4 * ratio, top + 29 * ratio);
      }
    });
    ctx.restore();
  };
  const series = panel.series.map((each) => ({
    label: each.label, stroke: css("--muted"), paths: () => null, points: { show: false },
    value: (u, v) => (v == null ? "–" : panel.states[v][0]),
  }));
  const tall = { ...panel, height: 18 + panel.series.length * LANE + 66 };
  const y = { axis: { values: () => [], grid: { show: false }, ticks: { show: false } } };
  const data = panel.series.map((each) => padded(run, each.values));
  return new uPlot(options(run, tall, element, [seconds, ...series], 1, [{ hooks: { draw } }], y), [inSeconds(run), ...data], element);
}

// A row for each series, from below; the more in a cell, the stronger its colour.
function heat(run, panel, element) {
  const used = panel.series.map((each) => each.values.some((n) => n > 0));
  const rows = panel.series.slice(used.indexOf(true), used.lastIndexOf(true) + 1);
  const most = Math.max(...rows.flatMap((each) => each.values));
  const draw = (u) => {
    const { ctx } = u;
    ctx.save();
    ctx.fillStyle = css("--heat");
    rows.forEach((each, row) => each.values.forEach((count, second) => {
      if (!count) return;
      const left = u.valToPos(second, "x", true), top = u.valToPos(row + 1, "y", true);
      ctx.globalAlpha = 0.12 + (0.88 * Math.log1p(count)) / Math.log1p(most);
      ctx.fillRect(left, top, u.valToPos(second + 1, "x", true) - left, u.valToPos(row, "y", true) - top);
    }));
    ctx.restore();
  };
  const y = {
    scale: { range: () => [0, rows.length] },
    axis: {
      splits: () => rows.map((each, row) => row + 0.5), grid: { show: false }, ticks: { show: false },
      values: () => rows.map((each) => each.label + panel.unit), size: 76,
    },
  };
  const series = { label: "requests", paths: () => null, points: { show: false }, value: (u, v) => told(v, "/s") };
  const sums = inSeconds(run).map((second) => rows.reduce((sum, each) => sum + (each.values[second] ?? 0), 0));
  return new uPlot(options(run, panel, element, [seconds, series], 1, [{ hooks: { draw } }], y), [inSeconds(run), sums], element);
}

const KINDS = { lines, stacked, lanes, heat };
function highest(panel) {
  const scaled = panel.series.filter((each) => each.scaled).map((each) => each.values);
  if (panel.kind !== "stacked") return Math.max(0, ...scaled.flat());
  return Math.max(0, ...scaled[0].map((_, second) => scaled.reduce((sum, values) => sum + (values[second] ?? 0), 0)));
}

function drawAll() {
  const runs = DATA.map((run, number) => (run ? { ...run, number } : null));
  for (const element of document.querySelectorAll("[data-panel]")) {
    const run = runs[Number(element.dataset.run)], key = element.dataset.panel;
    // Charts of the same kind share a scale, so that runs can be compared by eye.
    const max = Math.max(...runs.filter((each) => each?.panels[key]).map((each) => highest(each.panels[key])));
    element.textContent = "";
    KINDS[run.panels[key].kind](run, run.panels[key], element, max);
  }
}
if (DATA.some(Boolean)) {
  drawAll();
  let timer;
  addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(drawAll, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
}
