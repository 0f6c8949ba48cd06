/**
 * The results as one SVG picture: for each point a row of small panels with horizontal bars, a bar for each
 * contestant, its median written beside it and its spread as a thin line. Every panel has a scale of its own
 * from 0, because a room of five and a room of five thousand have nothing in common but the contestants.
 */
import { FIGURES, formatFigure, type FigureName } from "./figures.js";
import type { Row } from "./results.js";

/** What is drawn of a point, in this order, as far as it was measured. */
const DRAWN: readonly FigureName[] = [
  "highestLocationsPerSecond",
  "publishesPerSecond",
  "cpuPerDeliveryUs",
  "memoryPerConnectionBytes",
  "socketMemoryPerConnectionBytes",
  "returnSeconds",
  "p99Ms",
];
const PANELS_A_ROW = 2;

const WIDTH = 960;
const MARGIN = 24;
const TITLE_HEIGHT = 64;
const POINT_TITLE_HEIGHT = 34;
const PANEL_TITLE_HEIGHT = 22;
const BAR_HEIGHT = 18;
const BAR_STEP = 24;
const NAME_WIDTH = 132;
const VALUE_WIDTH = 96;
const PANEL_WIDTH = (WIDTH - MARGIN * (PANELS_A_ROW + 1)) / PANELS_A_ROW;
const BAR_WIDTH = PANEL_WIDTH - NAME_WIDTH - VALUE_WIDTH;

const COLOURS: Readonly<Record<string, string>> = {
  "gateway (protobuf)": "#1b7f5c",
  "gateway (JSON)": "#5fb896",
  "Socket.IO": "#555b66",
  "bare ws": "#b9bec7",
};
const OTHER_COLOUR = "#8a6fb0";

export interface ChartTexts {
  readonly title: string;
  /** The machine and the date. */
  readonly subtitle: string;
}

export function chartOf(rows: readonly Row[], texts: ChartTexts): string {
  const parts: string[] = [];
  let top = TITLE_HEIGHT;
  for (const point of new Set(rows.map((row) => row.point))) {
    const ofPoint = rows.filter((row) => row.point === point);
    const drawn = DRAWN.filter((name) => ofPoint.some((row) => row.figures[name] !== undefined));
    if (drawn.length === 0) continue;
    parts.push(text({ x: MARGIN, y: top + 22, size: 15, weight: 600 }, point));
    top += POINT_TITLE_HEIGHT;
    const panelHeight = PANEL_TITLE_HEIGHT + ofPoint.length * BAR_STEP + 10;
    for (const [index, name] of drawn.entries()) {
      const column = index % PANELS_A_ROW;
      if (index > 0 && column === 0) top += panelHeight;
      const left = MARGIN + column * (PANEL_WIDTH + MARGIN);
      parts.push(...panel(name, ofPoint, { left, top }));
    }
    top += panelHeight + 8;
  }
  const height = top + MARGIN;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}"`,
    `  font-family="system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif" role="img">`,
    `<title>${escaped(texts.title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text({ x: MARGIN, y: 30, size: 18, weight: 600 }, texts.title),
    text({ x: MARGIN, y: 50, size: 12, fill: "#5b616b" }, texts.subtitle),
    ...parts,
    "</svg>\n",
  ].join("\n");
}

function panel(name: FigureName, rows: readonly Row[], at: { left: number; top: number }): readonly string[] {
  const { label, better } = FIGURES[name];
  const most = Math.max(...rows.map((row) => row.figures[name]?.max ?? 0));
  const zero = at.left + NAME_WIDTH;
  const widthOf = (value: number): number => (most > 0 ? (value / most) * BAR_WIDTH : 0);
  const heading = `${label} (${better} is better)`;
  const parts = [text({ x: at.left, y: at.top + 12, size: 12, fill: "#5b616b" }, heading)];
  for (const [index, row] of rows.entries()) {
    const y = at.top + PANEL_TITLE_HEIGHT + index * BAR_STEP;
    const base = y + BAR_HEIGHT / 2 + 4;
    parts.push(text({ x: zero - 8, y: base, size: 12, anchor: "end" }, row.contestant));
    const spread = row.figures[name];
    if (spread === undefined) {
      const reason = row.failures.length > 0 ? "failed" : "–";
      parts.push(text({ x: zero + 6, y: base, size: 12, fill: "#b3261e" }, reason));
      continue;
    }
    const { median, min, max } = spread;
    parts.push(
      `<rect x="${zero}" y="${y}" width="${round(widthOf(median))}" height="${BAR_HEIGHT}" fill="${COLOURS[row.contestant] ?? OTHER_COLOUR}"/>`,
    );
    if (min !== max) {
      const middle = y + BAR_HEIGHT / 2;
      parts.push(
        `<path d="M${round(zero + widthOf(min))} ${middle}H${round(zero + widthOf(max))}" stroke="#111418" stroke-width="1.5"/>`,
      );
    }
    parts.push(
      text({ x: round(zero + widthOf(max)) + 6, y: base, size: 12, weight: 600 }, formatFigure(name, median)),
    );
  }
  return parts;
}

interface TextStyle {
  readonly x: number;
  readonly y: number;
  readonly size: number;
  readonly weight?: number;
  readonly fill?: string;
  readonly anchor?: "end";
}

function text(style: TextStyle, content: string): string {
  const { x, y, size, weight, fill = "#111418", anchor } = style;
  const weightText = weight === undefined ? "" : ` font-weight="${weight}"`;
  const anchorText = anchor === undefined ? "" : ` text-anchor="${anchor}"`;
  return `<text x="${x}" y="${y}" font-size="${size}" fill="${fill}"${weightText}${anchorText}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
