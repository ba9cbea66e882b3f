// Annotations: a band while a fault is in, a line where a phase begins.
import type uPlot from 'uplot';
import { Mark } from './input';

export function drawMarks(plot: uPlot, marks: Mark[], bands: boolean, scale: number): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const { color, from, to, name } of marks) {
    const left = plot.valToPos(from * scale, 'x', true);
    const width = plot.valToPos(to * scale, 'x', true) - left;
    const isBand = name !== 'Phases' && to > from;
    ctx.globalAlpha = isBand ? 0.2 : 0.9;
    ctx.fillStyle = color;
    if (isBand && bands) {
      ctx.fillRect(left, bbox.top, width, bbox.height);
    } else if (!isBand && !bands) {
      for (let top = bbox.top; top < bbox.top + bbox.height; top += 8) {
        ctx.fillRect(left, top, 1, 4);
      }
    }
  }
  ctx.restore();
}
