// Where vehicles pass, and which way: cells over the picture.

import { s } from "./svg.js";

export function heatLayer(heat, width, height) {
  const group = s("g", { "aria-hidden": "true", "pointer-events": "none" });
  if (!heat?.cells.length) return group;
  const side = width / heat.columns;
  const most = Math.max(...heat.cells.map(([, , n]) => n));
  for (const [column, row, n, x, y] of heat.cells) {
    const share = Math.sqrt(n / most);
    const place = { x: column * side, y: row * side, width: side, height: Math.min(side, height - row * side) };
    group.append(s("rect", { class: "warm", opacity: (0.55 * share).toFixed(2), ...place }));
    if (share > 0.3 && Math.hypot(x, y) > 0.5) group.append(arrow((column + 0.5) * side, (row + 0.5) * side, x, y, side));
  }
  return group;
}

function arrow(cx, cy, x, y, side) {
  const [dx, dy] = [x * side * 0.34, y * side * 0.34];
  const [bx, by] = [dx * 0.9, dy * 0.9];
  const d =
    `M${cx - dx} ${cy - dy}L${cx + dx} ${cy + dy}` +
    `m${-bx - by * 0.6} ${-by + bx * 0.6}L${cx + dx} ${cy + dy}l${-bx + by * 0.6} ${-by - bx * 0.6}`;
  return s("path", { class: "way", d, "stroke-width": side * 0.07, opacity: 0.85 });
}
