// Draws the charts of a report from DATA (one entry a run). Nothing is fetched.
"use strict";
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const OUTCOMES = [
  ["ok", "--good"], ["slow", "--slow"], ["shed", "--shed"], ["maintenance", "--maintenance"],
  ["throttled", "--throttled"], ["dependency", "--dependency"], ["timeout", "--failed"], ["invalid", "--invalid"],
  ["server_error", "--server-error"], ["connection", "--connection"], ["client_error", "--client-error"],
];

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

function options(run, element, title, unit, series, extra = {}) {
  const axis = { stroke: css("--muted"), grid: { stroke: css("--grid"), width: 1 }, ticks: { stroke: css("--grid") } };
  return {
    title, width: element.clientWidth, height: extra.height ?? 260, series, plugins: [bands(run)],
    cursor: { sync: { key: "run-" + run.number } },
    scales: { x: { time: false }, y: { range: (u, min, max) => [0, Math.max(1, extra.max ?? max) * 1.05] } },
    axes: [{ ...axis, values: (u, ticks) => ticks.map((t) => t + " s") }, { ...axis, size: 64, values: (u, ticks) => ticks.map((t) => t + unit) }],
  };
}

const line = (label, colour, unit, extra = {}) => ({
  label, stroke: css(colour), width: 2, points: { show: false }, spanGaps: false,
  value: (u, v) => (v == null ? "–" : v + unit), ...extra,
});
const seconds = { label: "second", value: (u, v) => (v == null ? "–" : v + " s") };
const constant = (run, value) => run.second.map(() => value);

function traffic(run, element, max) {
  const series = [
    seconds, line("offered", "--offered", "/s", { dash: [6, 3] }), line("goodput", "--good", "/s", { width: 3 }),
    line("shed", "--shed", "/s"), line("failed", "--failed", "/s", { dash: [2, 2] }),
  ];
  const data = [run.second, run.offered, run.goodput, run.shed, run.failed];
  if (run.capacity != null) {
    series.push(line("known capacity", "--text", "/s", { dash: [10, 6], width: 1 }));
    data.push(constant(run, run.capacity));
  }
  return new uPlot(options(run, element, "Offered, goodput, shed and failed requests per second", "/s", series, { max }), data, element);
}

function latency(run, element, max) {
  const series = [
    seconds, line("p50", "--good", " ms", { dash: [2, 2] }), line("p95", "--slow", " ms", { dash: [6, 3] }), line("p99", "--shed", " ms"),
    line("objective", "--text", " ms", { dash: [10, 6], width: 1 }),
  ];
  const data = [run.second, run.p50, run.p95, run.p99, constant(run, run.objective_ms)];
  return new uPlot(options(run, element, "Latency of admitted requests, from the intended start", " ms", series, { max }), data, element);
}

// Stacked: each series is drawn as the sum of itself and those below it, the highest first.
function outcomes(run, element, max) {
  const present = OUTCOMES.filter(([name]) => run.outcomes[name].some((n) => n > 0));
  const below = run.second.map(() => 0);
  const stacked = present.map(([name]) => run.outcomes[name].map((n, i) => (below[i] += n)));
  const series = [seconds], data = [run.second];
  for (let i = present.length - 1; i >= 0; i--) {
    const [name, colour] = present[i];
    series.push(line(name, colour, "/s", {
      width: 0, fill: css(colour), paths: uPlot.paths.bars({ size: [1, Infinity], align: 1 }),
      value: (u, v, s, index) => (index == null ? "–" : run.outcomes[name][index] + "/s"),
    }));
    data.push(stacked[i]);
  }
  return new uPlot(options(run, element, "What clients saw, requests per second", "/s", series, { max }), data, element);
}

// How the generator did: lower, since they are looked at only when something is wrong.
const LOW = 180;
function lateness(run, element, max) {
  const series = [
    seconds, line("p50", "--good", " ms", { dash: [2, 2] }), line("p99", "--shed", " ms"),
    line("allowed", "--text", " ms", { dash: [10, 6], width: 1 }),
  ];
  const data = [run.second, run.lateness_p50, run.lateness_p99, constant(run, run.lateness_limit_ms)];
  return new uPlot(options(run, element, "How late arrivals were started", " ms", series, { max, height: LOW }), data, element);
}

function cpu(run, element, max) {
  const series = [seconds, line("busiest process", "--offered", " %"), line("one core", "--text", " %", { dash: [10, 6], width: 1 })];
  const data = [run.second, run.cpu, constant(run, 100)];
  return new uPlot(options(run, element, "CPU of the generator, of one core", " %", series, { max, height: LOW }), data, element);
}

function drops(run, element, max) {
  const series = [
    seconds, line("late", "--shed", "/s"), line("dropped", "--failed", "/s", { dash: [2, 2] }), line("lost", "--slow", "/s", { dash: [6, 3] }),
  ];
  const data = [run.second, run.late, run.dropped, run.lost];
  return new uPlot(options(run, element, "Arrivals started late, dropped and lost per second", "/s", series, { max, height: LOW }), data, element);
}

const KINDS = { traffic, latency, outcomes, lateness, cpu, drops };
function drawAll() {
  const runs = DATA.map((run, number) => (run ? { ...run, number } : null));
  const known = runs.filter(Boolean);
  const top = (keys) => Math.max(...known.flatMap((run) => keys.flatMap((key) => run[key].filter((v) => v != null))));
  // Charts of the same kind share a scale, so that runs can be compared by eye.
  const max = {
    traffic: top(["offered"]), outcomes: top(["offered"]), latency: Math.max(top(["p99"]), known[0].objective_ms),
    lateness: Math.max(top(["lateness_p99"]), known[0].lateness_limit_ms), cpu: Math.max(top(["cpu"]), 100), drops: top(["late", "dropped", "lost"]),
  };
  for (const element of document.querySelectorAll("[data-chart]")) {
    const run = runs[Number(element.dataset.run)];
    element.textContent = "";
    if (run) KINDS[element.dataset.chart](run, element, max[element.dataset.chart]);
  }
}
if (DATA.some(Boolean)) {
  drawAll();
  let timer;
  addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(drawAll, 150); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
}
