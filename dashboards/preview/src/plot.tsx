// uPlot in React, with axes in the colours of Grafana's theme.
import { GrafanaTheme2 } from '@grafana/data';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';

export function Plot({ options, data }: { options: uPlot.Options; data: uPlot.AlignedData }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const plot = new uPlot(options, data, place.current!);
    return () => plot.destroy();
  }, [options, data]);
  return <div ref={place} />;
}

export function axis(theme: GrafanaTheme2, rest: Partial<uPlot.Axis>): uPlot.Axis {
  return {
    stroke: theme.colors.text.primary,
    font: `12px ${theme.typography.fontFamily}`,
    grid: { stroke: theme.isDark ? 'rgba(240, 250, 255, 0.09)' : 'rgba(0, 10, 23, 0.09)', width: 1 },
    ticks: { show: false },
    ...rest,
  };
}

export function clock(times: number[]): string[] {
  return times.map((time) => new Date(time * 1000).toISOString().slice(11, 19));
}
