"use strict";
const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const charts = [...document.querySelectorAll(".chart")];
let printing = false;

// Colours stand in the style sheet alone, and charts read them there.
function palette() {
  const style = getComputedStyle(root);
  const one = (name) => style.getPropertyValue(`--${name}`).trim();
  const several = (name) => one(name).split(/\s+/);
  const colours = {};
  for (const name of ["accent", "against", "muted", "ink", "soft", "line", "paper", "tint", "rail"]) colours[`@${name}`] = one(name);
  const range = {};
  for (const name of ["category", "ramp", "heatmap", "diverging"]) range[name] = several(name);
  return { colours, range: { ...range, ordinal: range.ramp.slice(1) } };
}

// What the look depends on: whether the upright axis has a title above it, and whether lines run from left to right.
function shapeOf(spec) {
  const layers = [spec, ...(spec.layer || [])];
  const titled = layers.some(({ encoding }) => {
    const y = encoding?.y;
    return y?.field && y.axis !== null && y.title !== null && y.axis?.title !== null;
  });
  const across = layers.some(({ mark, encoding }) =>
    /^(line|area|trail)$/.test(mark?.type || mark) || encoding?.x?.type === "temporal" || encoding?.x?.bin);
  return { titled, across };
}

function configOf({ colours, range }, { titled, across }, width, many) {
  const narrow = width < 480, font = getComputedStyle(document.body).fontFamily;
  const ink = colours["@ink"], soft = colours["@soft"], line = colours["@line"], accent = colours["@accent"];
  const text = { labelFont: font, titleFont: font, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 500, labelColor: soft, titleColor: soft };
  return {
    // A description of each of thousands of marks would cost more than the marks.
    background: "transparent", font, range, aria: !many, padding: { left: 0, right: 6, top: 4, bottom: 6 },
    view: { stroke: null, continuousHeight: 280, discreteHeight: { step: 22 } },
    axis: {
      ...text, domain: false, ticks: false, gridColor: line, gridWidth: 1, labelPadding: 7, titlePadding: 10, labelOverlap: true,
      domainColor: line, tickColor: line,
    },
    axisX: { labelFlush: true, tickCount: narrow ? 4 : 7, ...(across ? { grid: false, domain: true, domainColor: colours["@rail"] } : {}) },
    axisXPoint: { labelAngle: 0 },
    axisY: {
      labelLimit: Math.max(118, Math.min(240, Math.round(width * 0.37))), titleAlign: "left", titleAnchor: "start", titleAngle: 0,
      titleX: 0, titleY: -16, titleBaseline: "bottom", tickCount: 5,
    },
    axisBand: { grid: false, labelColor: ink, labelFontSize: 13 },
    legend: {
      ...text, orient: "top", direction: "horizontal", offset: titled ? 34 : 12, columnPadding: 18, symbolSize: 90, symbolStrokeWidth: 0,
      titleOrient: "left", labelLimit: narrow ? 150 : 260, gradientLength: Math.min(180, width * 0.45), gradientThickness: 9,
      gradientStrokeWidth: 0, columns: narrow ? 2 : 0,
    },
    header: text,
    mark: { color: accent, tooltip: null },
    bar: { color: accent, cornerRadiusEnd: 2 },
    area: { color: accent, opacity: 0.85, line: { strokeWidth: 1.5 } },
    line: { color: accent, strokeWidth: 2.25, strokeCap: "round", strokeJoin: "round" },
    trail: { color: accent },
    point: { filled: true, size: 44, opacity: 0.85, color: accent, strokeWidth: 0 },
    circle: { size: 40, opacity: 0.7, color: accent },
    rule: { color: soft, strokeWidth: 1 },
    tick: { color: accent },
    rect: { strokeWidth: 0 },
    text: { font, fontSize: 12, color: ink },
    style: { cell: { stroke: "transparent" }, "guide-label": { font }, "guide-title": { font } },
    scale: { barBandPaddingInner: 0.28, rectBandPaddingInner: many ? 0 : 0.06 },
  };
}

const formatLocale = { decimal: ".", thousands: ",", grouping: [3], currency: ["$", ""], minus: "−" };

// Columns of equal length become rows; texts that repeat stand once.
function rowsOf(columns) {
  const names = Object.keys(columns);
  const lists = names.map((name) => {
    const column = columns[name];
    return Array.isArray(column) ? column : column.codes.map((code) => column.texts[code]);
  });
  return (lists[0] || []).map((_, index) => Object.fromEntries(names.map((name, at) => [name, lists[at][index]])));
}

const coloured = /^(color|fill|stroke|value|range|scheme|.*Color)$/;
function themed(node, colours, key = "") {
  if (typeof node === "string") return coloured.test(key) && Object.hasOwn(colours, node) ? colours[node] : node;
  if (Array.isArray(node)) return node.map((part) => themed(part, colours, key));
  if (!node || typeof node !== "object") return node;
  const copy = {};
  for (const [name, part] of Object.entries(node)) copy[name] = name === "data" || name === "datasets" ? part : themed(part, colours, name);
  return copy;
}

function expanded(node) {
  if (Array.isArray(node)) return node.map(expanded);
  if (!node || typeof node !== "object") return node;
  const copy = {};
  for (const [name, part] of Object.entries(node)) {
    copy[name] = name === "data" && part && part.columns ? { ...part, columns: undefined, values: rowsOf(part.columns) } : expanded(part);
  }
  return copy;
}

const specs = new Map();
function specOf(chart) {
  if (!specs.has(chart)) specs.set(chart, expanded(JSON.parse(document.getElementById(chart.dataset.spec).textContent)));
  return specs.get(chart);
}

// What goes wrong while a chart works out its marks is only logged by Vega: a chart with a part missing looks whole.
// The bundle does not name the class of its views; an empty chart has it.
const empty = { data: { values: [] }, mark: "point" };
const watched = vegaEmbed(document.createElement("div"), empty, { ast: true, actions: false, defaultStyle: false }).then((made) => {
  made.finalize();
  return class extends made.view.constructor {
    error(problem) {
      this.problem ??= problem;
      this.whenFailed?.(problem);
      return super.error(problem);
    }
  };
});

function sayFailed(chart, error, room) {
  const message = document.createElement("p");
  message.className = "error";
  message.textContent = `This chart could not be drawn: ${error.message ?? error}`;
  drawn.get(chart)?.result?.finalize();
  chart.replaceChildren(message);
  chart.style.minHeight = "";
  drawn.set(chart, { room });
}

const drawn = new Map(), turn = new WeakMap();
async function draw(chart) {
  const mine = (turn.get(chart) || 0) + 1;
  turn.set(chart, mine);
  const theme = palette(), spec = themed(specOf(chart), theme.colours), aspect = spec.usermeta?.aspect;
  const many = chart.dataset.many === "true", room = Math.floor(chart.clientWidth), highest = printing ? 520 : 640;
  if (!room) return;
  let width = aspect ? Math.min(room, Math.round(highest / aspect) + 60) : room;
  // Where nothing stands beside the cells, their size is known beforehand: thousands are laid out once, not twice.
  const bare = many && spec.encoding?.y?.axis === null, fits = spec.width === "container";
  if (bare) width -= 10;
  if (fits) spec.width = width;
  if (aspect) spec.height = Math.round(aspect * (bare ? width : width - 60));
  const box = document.createElement("div");
  const options = {
    mode: "vega-lite", ast: true, viewClass: await watched, actions: false, defaultStyle: false, formatLocale,
    // Warnings about specifications come all the same; these would be about searches that find nothing.
    logLevel: 1,
    config: configOf(theme, shapeOf(spec), width, many),
    renderer: many ? "canvas" : "svg", scaleFactor: many && printing ? 3 : undefined,
    // Given to Vega rather than to Vega-Lite, which would warn of heights by a step.
    patch: (compiled) => (fits && !bare ? { ...compiled, autosize: { type: "fit-x", contains: "padding" } } : compiled),
    tooltip: { disableDefaultStyle: true, offsetX: 12, offsetY: 12 },
  };
  try {
    // Beside the page until it is done: what stands there stays meanwhile.
    box.style.cssText = "position:absolute;visibility:hidden;left:0;top:0";
    chart.append(box);
    const result = await vegaEmbed(box, spec, options), view = result.view;
    if (aspect && !bare) {
      const height = Math.round(aspect * view.signal("width"));
      if (Math.abs(height - view.height()) > 1) await view.height(height).runAsync();
    }
    if (turn.get(chart) !== mine) { result.finalize(); box.remove(); return; }
    if (view.problem) { result.finalize(); sayFailed(chart, view.problem, room); return; }
    // And later on, when the reader chooses something.
    view.whenFailed = (problem) => sayFailed(chart, problem, room);
    box.style.cssText = "";
    box.prepend(...box.querySelectorAll(".vega-bindings"));
    drawn.get(chart)?.result?.finalize();
    chart.replaceChildren(box);
    chart.style.minHeight = "";
    drawn.set(chart, { result, room });
  } catch (error) {
    console.error(error);
    sayFailed(chart, error, room);
  }
  chart.dataset.drawn = printing ? "print" : "screen";
}

// Charts are drawn when they come near, and anew when they come near after something has changed.
const stale = new Set(charts);
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting && stale.delete(target)) draw(target);
}, { rootMargin: "800px 0px" });
function redraw(changed) {
  for (const chart of changed) {
    stale.add(chart);
    // Being observed anew, it is reported at once if it is near.
    near.unobserve(chart);
    near.observe(chart);
  }
}
redraw(charts);

let waiting;
addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    if (!printing) redraw([...drawn].filter(([chart, { room }]) => Math.floor(chart.clientWidth) !== room).map(([chart]) => chart));
  }, 120);
});

// On a phone some tables are folded, so that the page is not endless.
const phone = matchMedia("(max-width: 560px)");
function fold() {
  if (printing) return;
  for (const part of document.querySelectorAll("details.on-phones")) {
    part.open = !phone.matches;
    part.querySelector("summary").tabIndex = phone.matches ? 0 : -1;
  }
}
phone.addEventListener("change", fold);
fold();

// Light and dark
const toggle = document.getElementById("theme");
let chosen = false;
function show(theme) {
  root.dataset.theme = theme;
  toggle.textContent = theme === "dark" ? "Light" : "Dark";
  toggle.setAttribute("aria-label", `Show the page in ${toggle.textContent.toLowerCase()} colours`);
}
toggle.onclick = () => { chosen = true; show(root.dataset.theme === "dark" ? "light" : "dark"); redraw(charts); };
dark.addEventListener("change", () => {
  if (chosen || printing) return;
  show(dark.matches ? "dark" : "light");
  redraw(charts);
});
show(root.dataset.theme);
toggle.hidden = false;

// On paper everything is light, as wide as a sheet, and all there.
const FEW = 40;
let before, folded = [];
addEventListener("beforeprint", () => {
  if (printing) return;
  printing = true;
  before = root.dataset.theme;
  root.dataset.theme = "light";
  root.classList.add("printing");
  folded = [...document.querySelectorAll("details:not([open])")].filter((part) => part.dataset.rows <= FEW);
  for (const part of folded) part.open = true;
  for (const chart of charts) draw(chart);
});
addEventListener("afterprint", () => {
  printing = false;
  root.dataset.theme = before;
  root.classList.remove("printing");
  for (const part of folded) part.open = false;
  redraw(charts);
});

// Where one is in the page
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
const reading = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    for (const [key, link] of links) {
      if (key === target.id) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
  }
}, { rootMargin: "-15% 0px -80% 0px" });
for (const section of document.querySelectorAll("main > section, .opening")) reading.observe(section);
