// The page: one dashboard, laid out by gridPos, in the theme that the address asks for.
import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import 'uplot/dist/uPlot.min.css';
import { createTheme, DataFrame, dateTime, FieldType, ThemeContext, TimeRange } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { GlobalStyles, PanelChrome, PortalContainer } from '@grafana/ui';
import { Component, ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { framesOf } from './frames';
import { Input, Panel } from './input';
import { Content } from './panels';

const CELL_HEIGHT = 30; // as in Grafana
const GAP = 8;
const HEADER = 48;
const WIDTH = 1400;
const address = new URLSearchParams(window.location.search);
const theme = createTheme({ colors: { mode: address.get('theme') === 'light' ? 'light' : 'dark' } });

function place({ x, y, w, h }: Panel['gridPos']) {
  const column = (WIDTH - GAP) / 24;
  return {
    left: GAP + x * column,
    top: HEADER + y * (CELL_HEIGHT + GAP),
    width: w * column - GAP,
    height: h * (CELL_HEIGHT + GAP) - GAP,
  };
}

/** Tells preview.py, which serves this page, what became of it. */
function say(what: 'drawn' | 'empty' | 'failed', text: string) {
  void fetch(`said/${what}?${encodeURIComponent(text)}`);
}

class Guard extends Component<{ children: ReactNode }, { error?: Error }> {
  state: { error?: Error } = {};

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  componentDidCatch(error: Error) {
    say('failed', String(error.stack));
  }

  render() {
    return this.state.error ? <pre>{this.state.error.stack}</pre> : this.props.children;
  }
}

function Row({ panel }: { panel: Panel }) {
  const { left, top } = place(panel.gridPos);
  const style = { position: 'absolute', left, top: top + 4, fontWeight: 500, fontSize: 16 } as const;
  return <div style={style}>{panel.title}</div>;
}

function Framed({ panel, frames, input, timeRange }: { panel: Panel; frames: DataFrame[]; input: Input; timeRange: TimeRange }) {
  const { left, top, width, height } = place(panel.gridPos);
  return (
    <div style={{ position: 'absolute', left, top, width, height }}>
      <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
        {(innerWidth, innerHeight) => (
          <Guard>
            <Content
              panel={panel}
              frames={frames}
              answers={input.answers[panel.id] ?? []}
              marks={input.marks}
              timeRange={timeRange}
              theme={theme}
              width={innerWidth}
              height={innerHeight}
            />
          </Guard>
        )}
      </PanelChrome>
    </div>
  );
}

function Page({ input, frames, timeRange }: { input: Input; frames: DataFrame[][]; timeRange: TimeRange }) {
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ position: 'absolute', left: GAP, top: 12, fontSize: 20, fontWeight: 500 }}>{input.dashboard.title}</div>
      {input.dashboard.panels.map((panel, index) =>
        panel.type === 'row' ? (
          <Row key={panel.id} panel={panel} />
        ) : (
          <Framed key={panel.id} panel={panel} frames={frames[index]} input={input} timeRange={timeRange} />
        )
      )}
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

function hasContent(type: string, frames: DataFrame[]): boolean {
  return type === 'table' ? frames.some((frame) => frame.length > 0) : hasNumbers(frames);
}

function hasNumbers(frames: DataFrame[]): boolean {
  const values = frames.flatMap((frame) => frame.fields.filter((field) => field.type === FieldType.number));
  return values.some((field) => field.values.some((value) => value !== null && !Number.isNaN(value)));
}

const PLOTTED = ['timeseries', 'heatmap', 'state-timeline', 'xychart'];

/** A plot is painted some frames after its panel: until then its canvas is missing, or empty. */
async function painted(count: number) {
  const isPainted = (canvas: HTMLCanvasElement) =>
    canvas.width > 0 &&
    canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte > 0);
  const all = () => [...document.querySelectorAll<HTMLCanvasElement>('.uplot canvas')];
  while (all().length < count || !all().every(isPainted)) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await new Promise((resolve) => requestAnimationFrame(resolve));
}

async function main() {
  await initPluginTranslations('grafana-ui');
  const input: Input = await (await fetch(`data/${address.get('board')}.json`)).json();
  const frames = await Promise.all(
    input.dashboard.panels.map((panel) => framesOf(panel, input.answers[panel.id] ?? [], theme, input.from, input.to))
  );
  const from = dateTime(input.from * 1000).utc();
  const to = dateTime(input.to * 1000).utc();
  await document.fonts.load('14px Inter');
  await document.fonts.load('500 14px Inter');
  input.dashboard.panels
    .filter((panel, index) => panel.type !== 'row' && panel.type !== 'text' && !hasContent(panel.type, frames[index]))
    .forEach((panel) => say('empty', panel.title));
  document.body.style.background = theme.colors.background.canvas;
  createRoot(document.getElementById('root')!).render(
    <Page input={input} frames={frames} timeRange={{ from, to, raw: { from, to } }} />
  );
  const plots = input.dashboard.panels.filter((panel, index) => PLOTTED.includes(panel.type) && frames[index].length > 0);
  await painted(plots.length);
  say('drawn', input.dashboard.title);
}

main().catch((error) => {
  say('failed', String(error.stack));
});
