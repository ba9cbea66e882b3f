// Panels that @grafana/ui does not have. They are drawn by us, after Grafana's.
import { FieldDisplay, FieldType, formattedValueToString, getValueFormat } from '@grafana/data';
import { useMemo } from 'react';
import uPlot from 'uplot';
import type { Series } from './input';
import { drawMarks } from './marks';
import type { Props } from './panels';
import { axis, clock, Plot } from './plot';

// Viridis, eleven colours of it.
const VIRIDIS = [
  '#440154', '#482475', '#414487', '#355f8d', '#2a788e', '#21918c', '#22a884', '#44bf70', '#7ad151', '#bddf26', '#fde725',
];

function base({ width, height }: Props): Omit<uPlot.Options, 'axes' | 'series'> {
  return { width, height, legend: { show: false }, cursor: { show: false }, padding: [8, 30, 0, 0] };
}

function unitText(unit: string | undefined, value: number): string {
  return formattedValueToString(getValueFormat(unit)(value));
}

function labelWidth(texts: string[]): number {
  return 16 + 7 * Math.max(0, ...texts.map((text) => text.length));
}

/** Buckets of a Prometheus histogram are cumulative: a row is what lies between two edges. */
function bucketRows({ answers }: Props): { edges: string[]; rows: Array<Map<number, number>> } {
  const edge = (one: Series) => Number(one.metric.le.replace('+Inf', 'Infinity'));
  const series = [...answers[0].series].sort((a, b) => edge(a) - edge(b));
  const counts = series.map((one) => new Map(one.values.map(([time, value]) => [time, Number(value)])));
  const rows = counts.map(
    (own, index) =>
      new Map([...own].map(([time, value]) => [time, Math.max(0, value - (index ? (counts[index - 1].get(time) ?? 0) : 0))]))
  );
  return { edges: series.map((one) => one.metric.le), rows };
}

export function Heatmap(props: Props) {
  const { panel, theme, timeRange, marks } = props;
  const [options, data] = useMemo(() => {
    const { edges, rows } = bucketRows(props);
    // Not Math.max(...counts): an hour has more of them than a call may have arguments.
    const most = rows.reduce((high, row) => [...row.values()].reduce((a, b) => Math.max(a, b), high), 0);
    const unit = panel.options.yAxis?.unit;
    const names = edges.map((edge) => (edge === '+Inf' ? 'more' : unitText(unit, Number(edge))));
    const times = [timeRange.from.unix(), timeRange.to.unix()];
    const cells = (plot: uPlot) => {
      rows.forEach((row, index) => {
        const top = plot.valToPos(index + 1, 'y', true);
        const height = plot.valToPos(index, 'y', true) - top - 1;
        row.forEach((count, time) => {
          const left = plot.valToPos(time, 'x', true);
          const share = (count / most) ** (panel.options.color?.exponent ?? 0.5);
          plot.ctx.fillStyle = VIRIDIS[Math.round(share * (VIRIDIS.length - 1))];
          if (count > 1e-9) {
            plot.ctx.fillRect(left, top, Math.max(1, plot.valToPos(time + 1, 'x', true) - left), height);
          }
        });
      });
      drawMarks(plot, marks, 1);
    };
    const opts: uPlot.Options = {
      ...base(props),
      scales: { x: { range: [times[0], times[1]] }, y: { range: [0, edges.length] } },
      series: [{}, { show: false }],
      axes: [
        axis(theme, { values: (_, ticks) => clock(ticks), space: 90, size: 26 }),
        axis(theme, {
          size: labelWidth(names),
          splits: edges.map((_, index) => index + 1),
          filter: (_, ticks) => ticks.map((tick) => (edges.length > 12 && tick % 2 === 0 ? null : tick)),
          values: (_, ticks) => ticks.map((tick) => (tick === null ? '' : names[tick - 1])),
        }),
      ],
      hooks: { draw: [cells] },
    };
    return [opts, [times, times.map(() => null)] as uPlot.AlignedData] as const;
  }, []);
  return <Plot options={options} data={data} />;
}

/** Spans of the same value: [value, from, to] by index. */
function spans(values: Array<number | null>): Array<[number | null, number, number]> {
  const found: Array<[number | null, number, number]> = [];
  values.forEach((value, index) => {
    const last = found[found.length - 1];
    if (last && last[0] === value) {
      last[2] = index + 1;
    } else {
      found.push([value, index, index + 1]);
    }
  });
  return found;
}

export function StateTimeline(props: Props) {
  const { panel, frames, theme, timeRange } = props;
  const [options, data] = useMemo(() => {
    const lanes = frames.map((frame) => frame.fields.find((field) => field.type === FieldType.number)!);
    const names = lanes.map((lane) => lane.config.displayNameFromDS ?? lane.name);
    const times = [timeRange.from.unix(), timeRange.to.unix()];
    const used = panel.options.rowHeight ?? 0.9;
    const boxes = (plot: uPlot) => {
      const { ctx } = plot;
      ctx.font = `${12 * uPlot.pxRatio}px ${theme.typography.fontFamily}`;
      ctx.textBaseline = 'middle';
      ctx.textAlign = 'left';
      lanes.forEach((lane, index) => {
        const middle = plot.valToPos(lanes.length - index - 0.5, 'y', true);
        const height = (plot.bbox.height / lanes.length) * used;
        for (const [value, start, end] of spans(lane.values)) {
          if (value === null) {
            continue;
          }
          const shown = lane.display!(value);
          const left = plot.valToPos(times[0] + start, 'x', true);
          const width = plot.valToPos(Math.min(times[0] + end, times[1]), 'x', true) - left;
          const opacity = (lane.config.custom?.fillOpacity ?? 70) / 100;
          ctx.globalAlpha = opacity;
          ctx.fillStyle = shown.color ?? theme.colors.text.secondary;
          ctx.fillRect(left, middle - height / 2, width, height);
          ctx.globalAlpha = 1;
          // As Grafana: the text is readable on the lane's colour, and absent where it is wider.
          if (shown.color !== '#00000000' && shown.color !== 'transparent' && ctx.measureText(shown.text).width < width - 6) {
            ctx.fillStyle = theme.colors.getContrastText(shown.color ?? '#888888');
            ctx.fillText(shown.text, left + 4, middle);
          }
        }
      });
    };
    const opts: uPlot.Options = {
      ...base(props),
      scales: { x: { range: [times[0], times[1]] }, y: { range: [0, lanes.length] } },
      series: [{}, { show: false }],
      axes: [
        axis(theme, { values: (_, ticks) => clock(ticks), space: 90, size: 26 }),
        axis(theme, {
          size: labelWidth(names),
          splits: lanes.map((_, index) => index + 0.5),
          values: (_, ticks) => ticks.map((tick) => names[lanes.length - 1 - Math.floor(tick)]),
          grid: { show: false },
        }),
      ],
      hooks: { draw: [boxes] },
    };
    return [opts, [times, times.map(() => null)] as uPlot.AlignedData] as const;
  }, []);
  return <Plot options={options} data={data} />;
}

function axisField({ panel, frames }: Props, end: 'x' | 'y') {
  const wanted = panel.options.series[0][end].matcher.options;
  return frames[0].fields.find(
    (field) => field.type === FieldType.number && (field.config.displayNameFromDS ?? field.name) === wanted
  );
}

/** A service that is not the reference backend may have no more than one of the two. */
export function hasBoth(props: Props): boolean {
  return Boolean(axisField(props, 'x') && axisField(props, 'y'));
}

export function XyChart(props: Props) {
  const { panel, theme } = props;
  const [options, data] = useMemo(() => {
    const wanted = (end: 'x' | 'y') => panel.options.series[0][end].matcher.options;
    const [x, y] = [axisField(props, 'x')!, axisField(props, 'y')!];
    const both = x.values.map((value, index) => [value, y.values[index]]).filter(([a, b]) => a !== null && b !== null);
    both.sort(([a], [b]) => a - b);
    const colour = theme.visualization.getColorByName(panel.fieldConfig.defaults.color?.fixedColor ?? 'blue');
    const labelFont = `500 12px ${theme.typography.fontFamily}`;
    const opts: uPlot.Options = {
      ...base(props),
      scales: { x: { time: false } },
      series: [{}, { stroke: 'transparent', paths: () => null, points: { show: true, size: 6, fill: `${colour}80`, stroke: colour } }],
      axes: [axis(theme, { label: wanted('x'), labelFont, labelSize: 20, size: 26 }), axis(theme, { label: wanted('y'), labelFont, labelSize: 20, size: 56 })],
    };
    return [opts, [both.map(([a]) => a), both.map(([, b]) => b)] as uPlot.AlignedData] as const;
  }, []);
  return <Plot options={options} data={data} />;
}

function arc(cx: number, cy: number, radius: number, from: number, to: number): string {
  const at = (share: number) => {
    const angle = Math.PI * (1 + share);
    return `${cx + radius * Math.cos(angle)} ${cy + radius * Math.sin(angle)}`;
  };
  return `M ${at(from)} A ${radius} ${radius} 0 0 1 ${at(to)}`;
}

export function Arc({ panel, theme, width, height, value }: Props & { value: FieldDisplay }) {
  const { min = 0, max = 100, thresholds } = panel.fieldConfig.defaults;
  const share = (number: number) => Math.min(1, Math.max(0, (number - min) / (max - min)));
  const [cx, cy] = [width / 2, height - 8];
  const radius = Math.min(width / 2, height) - 24;
  const steps: Array<{ value: number | null; color: string }> = thresholds.steps;
  return (
    <svg width={width} height={height} fill="none">
      {steps.map((step, index) => (
        <path
          key={index}
          d={arc(cx, cy, radius + 14, share(step.value ?? min), share(steps[index + 1]?.value ?? max))}
          stroke={theme.visualization.getColorByName(step.color)}
          strokeWidth={4}
        />
      ))}
      <path d={arc(cx, cy, radius, 0, 1)} stroke={theme.colors.background.secondary} strokeWidth={18} />
      <path d={arc(cx, cy, radius, 0, share(value.display.numeric))} stroke={value.display.color} strokeWidth={18} />
      <text x={cx} y={cy - 4} textAnchor="middle" fontSize={26} fontWeight={500} fill={value.display.color}>
        {formattedValueToString(value.display)}
      </text>
    </svg>
  );
}
