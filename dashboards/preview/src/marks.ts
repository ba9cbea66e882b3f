// Annotations, as Grafana draws them: dashed lines at both ends, and a band between them.
import type uPlot from 'uplot';
import { Mark } from './input';

export function drawMarks(plot: uPlot, marks: Mark[], scale: number): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.lineWidth = 2;
  ctx.setLineDash([5, 5]);
  for (const { color, from, to } of marks) {
    const [left, right] = [from, to].map((time) => plot.valToPos(time * scale, 'x', true));
    ctx.strokeStyle = color;
    ctx.fillStyle = color;
    for (const x of [left, right]) {
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.globalAlpha = 0.1;
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    ctx.globalAlpha = 1;
  }
  ctx.restore();
}
