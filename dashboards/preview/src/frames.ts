// From Prometheus' answers to Grafana's data frames, as its Prometheus data source makes them.
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  createDataFrame,
  DataFrame,
  FieldConfigOptionsRegistry,
  FieldType,
  GrafanaTheme2,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  transformDataFrame,
} from '@grafana/data';
import { lastValueFrom } from 'rxjs';
import { Answer, Panel, Series } from './input';

const { joinByFieldTransformer, mergeTransformer, organizeFieldsTransformer } = standardTransformers;

standardTransformersRegistry.setInit(() =>
  [joinByFieldTransformer, mergeTransformer, organizeFieldsTransformer].map((info: any) => ({
    ...info,
    transformation: () => Promise.resolve(info),
    editor: () => null,
    imageDark: '',
    imageLight: '',
  }))
);

const OPTIONS = ['unit', 'min', 'max', 'decimals', 'color', 'thresholds', 'mappings', 'displayName', 'noValue'];
const CUSTOM = [
  'axisPlacement', 'axisSoftMax', 'drawStyle', 'fillOpacity', 'lineInterpolation', 'lineStyle', 'lineWidth', 'showPoints', 'spanNulls',
  'stacking', 'thresholdsStyle', 'align', 'cellOptions', 'pointSize', 'inspect', 'hideFrom', 'pointShape', 'show',
  'pointStrokeWidth', 'scaleDistribution',
];

function option(name: string, isCustom: boolean): any {
  const id = isCustom ? `custom.${name}` : name;
  return { id, path: name, name, isCustom, process: (value: unknown) => value, shouldApply: () => true };
}

const items = [...OPTIONS.map((name) => option(name, false)), ...CUSTOM.map((name) => option(name, true))];
const registry = new FieldConfigOptionsRegistry(() => items);
standardFieldConfigEditorRegistry.setInit(() => items);

function filled(legend: string, labels: Record<string, string>): string {
  return legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name: string) => labels[name] ?? '');
}

function seriesFrame(answer: Answer, series: Series, from: number, to: number): DataFrame {
  const values = new Map(series.values.map(([time, value]) => [time, Number(value)]));
  const times = Array.from({ length: to - from + 1 }, (_, second) => from + second);
  const shown = answer.instant ? series.values.map(([time]) => time) : times;
  const config = { displayNameFromDS: filled(answer.legend, series.metric) };
  return createDataFrame({
    refId: answer.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: shown.map((time) => time * 1000) },
      {
        name: 'Value',
        type: FieldType.number,
        labels: series.metric,
        config,
        values: shown.map((time) => values.get(time) ?? null),
      },
    ],
  });
}

function tableFrame(answer: Answer, many: boolean): DataFrame {
  const names = [...new Set(answer.series.flatMap((series) => Object.keys(series.metric)))];
  const last = answer.series.map((series) => series.values[series.values.length - 1]);
  return createDataFrame({
    refId: answer.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: last.map(([time]) => time * 1000) },
      ...names.map((name) => ({
        name,
        type: FieldType.string,
        values: answer.series.map((series) => series.metric[name] ?? ''),
      })),
      { name: many ? `Value #${answer.refId}` : 'Value', type: FieldType.number, values: last.map(([, v]) => Number(v)) },
    ],
  });
}

export async function framesOf(
  panel: Panel,
  answers: Answer[],
  theme: GrafanaTheme2,
  from: number,
  to: number
): Promise<DataFrame[]> {
  const raw = answers.flatMap((answer) =>
    answer.format === 'table'
      ? [tableFrame(answer, answers.length > 1)]
      : answer.series.map((series) => seriesFrame(answer, series, from, to))
  );
  const changed = await lastValueFrom(transformDataFrame(panel.transformations ?? [], raw));
  const frames = applyFieldOverrides({
    data: changed,
    fieldConfig: panel.fieldConfig ?? { defaults: {}, overrides: [] },
    fieldConfigRegistry: registry,
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(frames);
  return frames;
}
