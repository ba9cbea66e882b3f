// What preview.py writes: a dashboard, and what Prometheus answered to each of its queries.

export interface Series {
  metric: Record<string, string>;
  values: Array<[number, string]>;
}

export interface Answer {
  refId: string;
  legend: string;
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  series: Series[];
}

export interface Mark {
  name: string;
  color: string;
  text: string;
  from: number;
  to: number;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { x: number; y: number; w: number; h: number };
  options?: any;
  fieldConfig?: any;
  transformations?: any[];
}

export interface Input {
  dashboard: { title: string; panels: Panel[] };
  answers: Record<string, Answer[]>;
  marks: Mark[];
  from: number;
  to: number;
}
