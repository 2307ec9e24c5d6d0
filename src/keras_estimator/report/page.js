"use strict";
// Draws what the page holds as data: the curves with uPlot, the graph of the model where dagre places its boxes.
// Texts become text nodes only, so nothing that a file of the run holds can become part of the page.
(() => {
  const held = (id) => {
    const element = document.getElementById(id);
    return element && JSON.parse(element.textContent);
  };
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // ---- curves ------------------------------------------------------------------------------------------------

  const PLOT_HEIGHT = 240;
  const MOST_DOTS = 40;
  const run = held("curves-data");

  function shown(value) {
    if (value == null) return "–";
    const size = Math.abs(value);
    if (size >= 1e4) return Math.round(value).toLocaleString("en");
    if (size !== 0 && size < 1e-3) return value.toExponential(3).replace(/\.?0+e/, "e");
    return String(Number(value.toPrecision(4)));
  }

  function onAxis(value) {
    if (value == null) return "";
    const size = Math.abs(value);
    if (size >= 1e4) return value.toLocaleString("en", { notation: "compact", maximumFractionDigits: 2 });
    if (size !== 0 && size < 1e-3) return value.toExponential(1).replace(".0e", "e");
    return String(Number(value.toPrecision(6)));
  }

  // Curves have points at steps of their own: that of each which is nearest to the cursor is read.
  function nearest(plot, place, hovered) {
    const values = plot.data[place];
    if (place === 0 || values[hovered] != null) return hovered;
    const steps = plot.data[0];
    let before = hovered;
    let after = hovered;
    while (before >= 0 && values[before] == null) before--;
    while (after < values.length && values[after] == null) after++;
    if (before < 0) return after < values.length ? after : hovered;
    if (after >= values.length) return before;
    return steps[hovered] - steps[before] <= steps[after] - steps[hovered] ? before : after;
  }

  function series(one) {
    const name = run.names[one.name];
    const last = one.values[one.values.length - 1];
    return {
      label: name,
      stroke: () => colour(`--series-${one.name % 8}`),
      width: one.name === 0 ? 1.5 : 2,
      points: { show: one.steps.length <= MOST_DOTS, size: 6, fill: () => colour(`--series-${one.name % 8}`) },
      value: (plot, value, place, index) => {
        if (index == null) return last == null ? "not finite" : shown(last);
        const own = plot.data[0][index];
        const hovered = plot.cursor.idx == null ? own : plot.data[0][plot.cursor.idx];
        return own === hovered ? shown(value) : `${shown(value)} @ ${own.toLocaleString("en")}`;
      },
    };
  }

  // Where a run went on from a checkpoint after it had been further.
  function drawRewinds(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = colour("--bad");
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const step of run.rewinds) {
      const left = plot.valToPos(step, "x", true);
      if (left < bbox.left || left > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(left, bbox.top);
      ctx.lineTo(left, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  }

  function axis(extra) {
    const lines = { stroke: () => colour("--grid"), width: 1 };
    return { stroke: () => colour("--faint"), grid: lines, ticks: lines, font: "12px system-ui", ...extra };
  }

  function draw(container, isLogarithmic) {
    const chart = run.charts[container.dataset.chart];
    const joined = uPlot.join(chart.series.map((one) => [one.steps, one.values]));
    const isPositive = chart.series.every((one) => one.values.every((value) => value == null || value > 0));
    const hasTraining = chart.series.some((one) => run.names[one.name] === "train");
    const plot = new uPlot(
      {
        width: container.clientWidth,
        height: PLOT_HEIGHT,
        scales: { x: { time: false }, y: { distr: isLogarithmic && isPositive ? 3 : 1 } },
        axes: [
          axis({ values: (_, steps) => steps.map((step) => (Number.isInteger(step) ? onAxis(step) : "")), size: 32 }),
          axis({ values: (_, values) => values.map(onAxis), size: 58 }),
        ],
        series: [
          { label: "step", value: (_, step) => (step == null ? "last" : step.toLocaleString("en")) },
          ...chart.series.map(series),
        ],
        cursor: { dataIdx: nearest, sync: { key: "step" }, y: false },
        hooks: hasTraining ? { draw: [drawRewinds] } : {},
      },
      joined,
      container,
    );
    plot.setLegend({ idx: null });
    return plot;
  }

  // ---- reading a curve with the keyboard ---------------------------------------------------------------------

  function readWithKeys(container, plotNow) {
    let place = null;
    container.addEventListener("keydown", (event) => {
      const plot = plotNow();
      const last = plot.data[0].length - 1;
      const stride = event.shiftKey ? Math.max(1, Math.round(last / 20)) : 1;
      const from = place ?? (event.key === "ArrowRight" ? -1 : last + 1);
      const next = { ArrowLeft: from - stride, ArrowRight: from + stride, Home: 0, End: last }[event.key];
      if (next === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      place = Math.min(last, Math.max(0, next));
      plot.setCursor({ left: plot.valToPos(plot.data[0][place], "x"), top: 10 });
      const rows = [...container.querySelectorAll(".u-series")].map((row) => row.textContent);
      document.getElementById("read").textContent = rows.join(", ");
    });
    container.addEventListener("blur", () => {
      place = null;
      plotNow().setCursor({ left: -10, top: -10 });
    });
  }

  function drawCurves() {
    const containers = [...document.querySelectorAll(".plot")];
    const logarithmic = document.getElementById("logarithmic");
    const plots = new Map(containers.map((container) => [container, draw(container, false)]));
    const fitting = new ResizeObserver((changes) => {
      for (const { target } of changes) {
        const plot = plots.get(target);
        if (plot.width !== target.clientWidth) plot.setSize({ width: target.clientWidth, height: PLOT_HEIGHT });
      }
    });
    for (const container of containers) {
      fitting.observe(container);
      readWithKeys(container, () => plots.get(container));
    }
    logarithmic.checked = false; // a browser may remember it
    logarithmic.addEventListener("change", () => {
      for (const container of containers) {
        plots.get(container).destroy();
        plots.set(container, draw(container, logarithmic.checked));
      }
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      for (const container of containers) {
        plots.get(container).destroy();
        plots.set(container, draw(container, logarithmic.checked));
      }
    });
  }

  // ---- the graph of the model --------------------------------------------------------------------------------

  const ROW_HEIGHT = 22;
  const WIDEST = 300;

  function svg(tag, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function measuredBy(context) {
    const widthOf = (text, font) => {
      context.font = font;
      return context.measureText(text).width;
    };
    const cut = (text, font) => {
      if (widthOf(text, font) <= WIDEST) return text;
      let length = text.length;
      while (length > 1 && widthOf(`${text.slice(0, length)}…`, font) > WIDEST) length--;
      return `${text.slice(0, length)}…`;
    };
    return { widthOf, cut };
  }

  // A layer by itself has two lines; of several in one box each has one.
  function linesOf(box) {
    if (box.length > 1) {
      return box.map((layer) => ({ layer, class: layer.class, name: layer.shape || layer.name }));
    }
    const [layer] = box;
    const under = [layer.name, layer.shape].filter(Boolean).join("  ");
    return [{ layer, class: layer.class, name: "" }, { layer, class: "", name: under }];
  }

  const PIN_FONT = "700 12px system-ui";
  const PIN_HEIGHT = 20;
  const OVER_THE_EDGE = 8; // how far a pin stands out of its box

  function laidOut(model, measure) {
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: "TB", nodesep: 28, ranksep: 30, marginx: 10, marginy: model.pins ? 16 : 10 });
    graph.setDefaultEdgeLabel(() => ({}));
    model.boxes.forEach((box, place) => {
      const lines = linesOf(box).map((line) => ({
        ...line,
        class: measure.cut(line.class, "600 13px system-ui"),
        name: measure.cut(line.name, "12px system-ui"),
      }));
      const widths = lines.map(
        (line) =>
          measure.widthOf(line.class, "600 13px system-ui") + measure.widthOf(line.name, "12px system-ui") +
          (line.class && line.name ? 8 : 0),
      );
      const pin = model.pins?.[place];
      const pinWidth = pin ? measure.widthOf(pinText(pin), PIN_FONT) + 14 : 0;
      const width = Math.max(Math.max(...widths) + 32, 2 * pinWidth + 14); // an edge arrives in the middle
      graph.setNode(String(place), { lines, pin, pinWidth, width, height: lines.length * ROW_HEIGHT + 10 });
    });
    model.edges.forEach(([from, to]) => graph.setEdge(String(from), String(to)));
    dagre.layout(graph);
    return graph;
  }

  function drawBox(box, layers) {
    const [left, top] = [box.x - box.width / 2, box.y - box.height / 2];
    const group = svg("g", {});
    const full = layers.map((layer) => [layer.class, layer.name, layer.shape].filter(Boolean).join("  "));
    group.append(svg("title", {}, full.join("\n")));
    group.append(svg("rect", { class: "box", x: left, y: top, width: box.width, height: box.height, rx: 7 }));
    const stripe = (layer, y, height) =>
      group.append(svg("rect", { class: `stripe kind-${layer.kind}`, x: left + 7, y, width: 4, height, rx: 1 }));
    if (layers.length === 1) stripe(layers[0], top + 7, box.height - 14);
    box.lines.forEach((line, row) => {
      const y = top + 5 + row * ROW_HEIGHT;
      if (layers.length > 1) stripe(line.layer, y + 1, ROW_HEIGHT - 2);
      const text = svg("text", { x: left + 19, y: y + 15.5 });
      const isNoted = layers.length > 1 && box.pin?.rows.includes(row);
      text.append(svg("tspan", { class: isNoted ? "class noted" : "class" }, line.class));
      text.append(svg("tspan", line.class ? { class: "name", dx: 8 } : { class: "name" }, line.name));
      group.append(text);
    });
    return group;
  }

  const pinText = (pin) => `${pin.letter} ${pin.count}`;

  // A pin stands on the upper right corner of its box and leads to what is said about the layers in it.
  function drawPin(box) {
    const { pin, pinWidth: width } = box;
    const left = box.x + box.width / 2 + OVER_THE_EDGE - width;
    const top = box.y - box.height / 2 - 13;
    const link = svg("a", { class: `pin pin-${pin.severity}`, href: `#${pin.ids[0]}`, "aria-label": pin.label });
    link.dataset.ids = pin.ids.join(" ");
    link.append(svg("title", {}, pin.label));
    const round = pin.severity === "error" ? 3 : PIN_HEIGHT / 2;
    link.append(svg("rect", { x: left, y: top, width, height: PIN_HEIGHT, rx: round }));
    link.append(svg("text", { x: left + width / 2, y: top + 14.5, "text-anchor": "middle" }, pinText(pin)));
    return link;
  }

  function path(points) {
    const [first, ...rest] = points;
    let text = `M${first.x},${first.y}`;
    for (let place = 0; place < rest.length - 1; place++) {
      const [now, next] = [rest[place], rest[place + 1]];
      const end = place === rest.length - 2 ? next : { x: (now.x + next.x) / 2, y: (now.y + next.y) / 2 };
      text += `Q${now.x},${now.y} ${end.x},${end.y}`;
    }
    return rest.length === 1 ? `${text}L${rest[0].x},${rest[0].y}` : text;
  }

  function drawGraph(container, model) {
    const measure = measuredBy(document.createElement("canvas").getContext("2d"));
    const graph = laidOut(model, measure);
    const { width, height } = graph.graph();
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
    // What has pins can be read and clicked; a mere picture is told by its label and by the table.
    if (!model.pins?.some(Boolean)) picture.setAttribute("aria-hidden", "true");
    const head = svg("marker", {
      id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto",
    });
    head.append(svg("path", { class: "head", d: "M0,0L8,4L0,8z" }));
    picture.append(head);
    for (const edge of graph.edges()) {
      picture.append(svg("path", { class: "edge", d: path(graph.edge(edge).points), "marker-end": "url(#head)" }));
    }
    const places = model.boxes.map((_, place) => graph.node(String(place)));
    model.boxes.forEach((box, place) => picture.append(drawBox(places[place], box)));
    picture.append(...places.filter((box) => box.pin).map(drawPin)); // above all boxes
    container.append(picture);
  }

  // ---- from a pin to what it says, and back ------------------------------------------------------------------

  function chosen(pin) {
    const ids = pin.dataset.ids.split(" ");
    document.querySelectorAll(".finding").forEach((card) => card.classList.toggle("chosen", ids.includes(card.id)));
  }

  function followPins() {
    document.addEventListener("click", (event) => {
      const pin = event.target.closest("[data-ids]");
      if (pin) chosen(pin); // the browser goes to the first by itself
      const back = event.target.closest(".to-picture");
      if (!back) return;
      const { id } = back.closest(".finding");
      const pins = [...document.querySelectorAll("#graph .pin, .tree .pin")];
      const home = pins.find((one) => one.dataset.ids.split(" ").includes(id));
      if (!home) return;
      event.preventDefault();
      home.focus();
      home.scrollIntoView({ block: "center", inline: "nearest" });
    });
  }

  if (run) drawCurves();
  const model = held("model-data");
  if (model) drawGraph(document.getElementById("graph"), model);
  if (document.querySelector(".finding")) followPins();
})();
