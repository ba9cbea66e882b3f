// Which component shows which kind of panel.
import {
  DataFrame,
  DisplayProcessor,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  GrafanaTheme2,
  TimeRange,
  VizOrientation,
} from '@grafana/data';
import { BarGauge, BigValue, TimeSeries, UPlotConfigBuilder } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import type uPlot from 'uplot';
import { Arc, hasBoth, Heatmap, StateTimeline, XyChart } from './drawn';
import { Answer, Mark, Panel } from './input';
import { drawMarks } from './marks';

export interface Props {
  panel: Panel;
  frames: DataFrame[];
  answers: Answer[];
  marks: Mark[];
  timeRange: TimeRange;
  theme: GrafanaTheme2;
  width: number;
  height: number;
}

function Lines({ panel, frames, marks, timeRange, width, height }: Props) {
  const hook = (builder: UPlotConfigBuilder) => {
    builder.addHook('draw', (plot: uPlot) => drawMarks(plot, marks, 1000));
    return null;
  };
  return (
    <TimeSeries
      frames={frames}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={panel.options.legend}
      options={panel.options}
    >
      {hook}
    </TimeSeries>
  );
}

function displayed({ panel, frames, theme }: Props, sparkline: boolean) {
  return getFieldDisplayValues({
    data: frames,
    reduceOptions: panel.options.reduceOptions,
    fieldConfig: panel.fieldConfig,
    replaceVariables: (text) => text,
    sparkline,
    theme,
    timeZone: 'utc',
  });
}

// As Grafana's stat panel does: the course is drawn between its own least and greatest value.
function ownRange(sparkline: any) {
  if (!sparkline) {
    return undefined;
  }
  const numbers: number[] = sparkline.y.values.filter((value: number | null) => value !== null);
  const [min, max] = [Math.min(...numbers), Math.max(...numbers)];
  const config = { ...sparkline.y.config, min, max: max > min ? max : min + 1 };
  return { ...sparkline, y: { ...sparkline.y, config, state: { ...sparkline.y.state, range: { min, max, delta: max - min } } } };
}

function Stat(props: Props) {
  const { panel, theme, width, height, timeRange } = props;
  const values = displayed(props, panel.options.graphMode !== 'none');
  return (
    <div style={{ display: 'flex', height }}>
      {values.map((value, index) => (
        <BigValue
          key={index}
          theme={theme}
          width={width / values.length}
          height={height}
          value={value.display}
          count={values.length}
          sparkline={value.sparkline && { ...ownRange(value.sparkline), timeRange }}
          colorMode={panel.options.colorMode}
          graphMode={panel.options.graphMode}
          justifyMode={panel.options.justifyMode}
          textMode={panel.options.textMode}
        />
      ))}
    </div>
  );
}

function Bars(props: Props) {
  const { panel, theme, width, height } = props;
  const values = displayed(props, false);
  const alignmentFactors = getDisplayValueAlignmentFactors(values);
  const barHeight = Math.min(60, height / Math.max(1, values.length) - 8);
  return (
    <div style={{ height, overflow: 'hidden' }}>
      {values.map((value, index) => (
        <div key={index} style={{ marginBottom: 8 }}>
          <BarGauge
            theme={theme}
            width={width}
            height={barHeight}
            value={value.display}
            field={value.field}
            display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0) as DisplayProcessor}
            orientation={VizOrientation.Horizontal}
            displayMode={panel.options.displayMode}
            valueDisplayMode={panel.options.valueMode}
            showUnfilled={panel.options.showUnfilled}
            alignmentFactors={alignmentFactors}
          />
        </div>
      ))}
    </div>
  );
}

function Empty({ theme, height }: Props) {
  return <div style={{ height, display: 'grid', placeItems: 'center', color: theme.colors.text.secondary }}>No data</div>;
}

export function Content(props: Props) {
  const { panel, frames, width, height, timeRange } = props;
  if (panel.type !== 'text' && !frames.some((frame) => frame.length > 0)) {
    return <Empty {...props} />;
  }
  switch (panel.type) {
    case 'timeseries':
      return <Lines {...props} />;
    case 'stat':
      return <Stat {...props} />;
    case 'bargauge':
      return <Bars {...props} />;
    case 'gauge':
      return <Arc {...props} value={displayed(props, false)[0]} />;
    case 'table':
      return <TableNG data={frames[0]} width={width} height={height} timeRange={timeRange} structureRev={1} enableVirtualization={false} />;
    case 'heatmap':
      return <Heatmap {...props} />;
    case 'state-timeline':
      return <StateTimeline {...props} />;
    case 'xychart':
      return hasBoth(props) ? <XyChart {...props} /> : <Empty {...props} />;
    default:
      return <pre style={{ whiteSpace: 'pre-wrap' }}>{panel.options?.content ?? `No preview of ${panel.type}`}</pre>;
  }
}
