// Counts over the whole run: small charts, each with a scale of its own, over one time axis.
const CHARTS = [
  [["sessions at the server", 1, "c0"], ["lent by the pools", 5, "c1"], ["running a statement", 2, "c2"]],
  [["waiting for a connection", 4, "c3", true]],
  [["threads", 3, "c4", true]],
];

// Of them are drawn and told; a long run has thousands.
const MOST_MARKS = 200;

// Points closer to each other than some pixels as one, with their mean and their range.
function bucketed(points, pixels) {
  const result = [];
  for (const [place, value] of points) {
    const last = result[result.length - 1];
    if (last && place - last.from < pixels) {
      last.count += 1;
      last.mean += (value - last.mean) / last.count;
      last.x += (place - last.x) / last.count;
      last.low = Math.min(last.low, value);
      last.high = Math.max(last.high, value);
    } else result.push({ from: place, x: place, count: 1, mean: value, low: value, high: value });
  }
  return result;
}

function makeSeries(node) {
  const moments = DATA.series;
  const charts = CHARTS.map((lines) => lines.filter(([, column]) => moments.some((each) => each[column] !== null)))
    .filter((lines) => lines.length);
  if (moments.length < 2 || !charts.length) {
    node.append(h("p", { class: "card nothing" }, "This run kept no counts over time."));
    return;
  }
  const card = h("div", { class: "card" });
  node.append(card);
  const last = Math.max(DATA.seconds, moments[moments.length - 1][0]);
  const where = h("b", {}, "");
  const bands = s("svg", { height: 22, "aria-hidden": "true" });
  const parts = charts.map((lines) => {
    const keys = lines.map(([name, column, colour]) => ({ value: h("b", {}, ""), name, column, colour }));
    const picture = s("svg", { height: 92, class: "plotted", role: "img", "aria-label": lines.map(([name]) => name).join(", ") });
    const head = h("div", { class: "head" }, ...keys.map(({ value, name, colour }) => h("span", { class: "key" },
      s("svg", { width: 18, height: 4, "aria-hidden": "true" }, s("line", { class: `plot ${colour}`, x1: 0, x2: 18, y1: 2, y2: 2, "stroke-width": 2.5 })), name, value)));
    return { lines, keys, picture, head };
  });
  const axis = s("svg", { height: 22, "aria-hidden": "true" });
  const frame = h("div", {});
  card.append(h("div", { class: "chart" }, h("div", { class: "head" }, h("span", { class: "key" }, "scenario", where)), frame),
    ...parts.map(({ head, picture }, n) => h("div", { class: "chart" }, head, picture, n === parts.length - 1 ? axis : null)));
  frame.append(bands);
  if (DATA.marks.length) {
    card.append(h("ol", { class: "marks", tabindex: "0", "aria-label": "What was done on purpose" }, ...DATA.marks.slice(0, MOST_MARKS).map(([at, what, ended], n) =>
      h("li", {}, h("b", {}, String(n + 1)), `${what}, at ${duration(at)}${ended === null ? "" : `, for ${duration(ended - at)}`}`)),
    DATA.marks.length > MOST_MARKS ? h("li", {}, `and ${grouped(DATA.marks.length - MOST_MARKS)} more`) : null));
  }

  const LEFT = 34;
  onWidth(frame, (width) => {
    const x = (at) => LEFT + (at / last) * (width - LEFT - 8);
    for (const each of [bands, axis, ...parts.map((part) => part.picture)]) each.setAttribute("width", width);
    bands.replaceChildren();
    for (const scenario of scenarios) {
      if (scenario.began === null || scenario.skipped) continue;
      const x1 = x(scenario.began);
      const wide = Math.max(2, x(scenario.began + scenario.seconds) - x1);
      const words = scenario.name.length * 6 + 10 < wide ? s("text", { x: x1 + 6, y: 14 }, scenario.name) : null;
      bands.append(s("g", {}, s("rect", { class: `band${scenario.found ? " bad" : ""}`, x: x1, y: 1.5, width: wide, height: 18, rx: 3 }), words,
        s("title", {}, `${scenario.name}, ${duration(scenario.seconds)}`)));
    }
    for (const { lines, picture } of parts) {
      const top = Math.max(1, ...moments.flatMap((each) => lines.map(([, column]) => each[column] || 0)));
      const y = (value) => 84 - (value / top) * 70;
      picture.replaceChildren(
        s("line", { class: "base", x1: LEFT, x2: width - 8, y1: y(0), y2: y(0) }),
        s("line", { class: "grid", x1: LEFT, x2: width - 8, y1: y(top), y2: y(top) }),
        s("text", { x: LEFT - 6, y: y(top) + 4, "text-anchor": "end" }, grouped(top)),
        s("text", { x: LEFT - 6, y: y(0) + 4, "text-anchor": "end" }, "0"));
      let free = 0;
      DATA.marks.slice(0, MOST_MARKS).forEach(([at, , ended], n) => {
        if (ended !== null) picture.append(s("rect", { class: "mark-span", x: x(at), width: Math.max(1, x(ended) - x(at)), y: 0, height: 84 }));
        picture.append(s("line", { class: "mark-line", x1: x(at), x2: x(at), y1: 0, y2: 84 }));
        const wide = 9 + 6 * String(n + 1).length;
        if (picture === parts[0].picture && x(at) >= free) {
          free = x(at) + wide + 1;
          picture.append(s("rect", { class: "mark-flag", x: x(at), y: 0, width: wide, height: 13, rx: 2 }),
            s("text", { class: "mark-number", x: x(at) + wide / 2, y: 10 }, String(n + 1)));
        }
      });
      for (const [, column, colour, isArea] of lines) {
        const known = moments.filter((each) => each[column] !== null);
        const buckets = bucketed(known.map((each) => [x(each[0]), each[column]]), 3);
        const path = (pick) => buckets.map((each) => `${each.x.toFixed(1)},${y(pick(each)).toFixed(1)}`);
        const middle = path((each) => each.mean);
        if (isArea) picture.append(s("polygon", { class: `area ${colour}`, points: `${buckets[0].x},${y(0)} ${middle.join(" ")} ${buckets[buckets.length - 1].x},${y(0)}` }));
        else if (buckets.length < known.length) picture.append(s("polygon", { class: `area ${colour}`, points: [...path((each) => each.high), ...path((each) => each.low).reverse()].join(" ") }));
        picture.append(s("polyline", { class: `plot ${colour}`, points: middle.join(" ") }));
      }
      picture.append(s("line", { class: "cross", y1: 0, y2: 84, visibility: "hidden" }));
    }
    axis.replaceChildren();
    for (const [at, label] of ticks(0, last, Math.max(2, Math.floor(width / 100)))) {
      axis.append(s("text", { x: x(at), y: 13, "text-anchor": x(at) > width - 24 ? "end" : "middle" }, label));
    }
    const read = (event) => {
      const place = event.clientX - frame.getBoundingClientRect().left;
      const at = ((place - LEFT) / (width - LEFT - 8)) * last;
      let near = moments[0];
      for (const each of moments) if (Math.abs(each[0] - at) < Math.abs(near[0] - at)) near = each;
      const running = scenarios.find((each) => each.began !== null && each.began <= near[0] && near[0] <= each.began + each.seconds);
      where.textContent = `${running ? `${running.name}, ` : ""}${duration(near[0])}`;
      for (const { keys, picture } of parts) {
        const cross = picture.querySelector(".cross");
        cross.setAttribute("x1", x(near[0]));
        cross.setAttribute("x2", x(near[0]));
        cross.setAttribute("visibility", "visible");
        for (const key of keys) key.value.textContent = near[key.column] === null ? "" : grouped(near[key.column]);
      }
    };
    for (const { picture } of parts) {
      picture.onpointermove = read;
      picture.onpointerleave = () => { where.textContent = ""; parts.forEach(summarise); };
    }
    parts.forEach(summarise);
  });

  // With no pointer over it a chart tells its highest values.
  function summarise({ keys, picture }) {
    const cross = picture.querySelector(".cross");
    if (cross) cross.setAttribute("visibility", "hidden");
    for (const key of keys) key.value.textContent = `max ${grouped(Math.max(...moments.map((each) => each[key.column] || 0)))}`;
  }
}
