// Swim lanes: a lane is a session, a bar is a context's unit.
const ROW = 19;
const LANE_GAP = 7;
const MARGIN_RIGHT = 18;

// Rows within a lane: one is enough unless contexts overlap. What shares time with a longer use
// of the same context (a statement with its transaction) is drawn inside of that.
function arrange(lane) {
  const outer = [];
  const bars = lane.bars.map((bar) => ({ ...bar, lane, spid: lane.spid }));
  const longestUseFirst = [...bars].sort((a, b) => USES.indexOf(b.use) - USES.indexOf(a.use) || a.began - b.began || b.ended - a.ended);
  for (const bar of longestUseFirst) {
    bar.around = outer.find((each) => each.token === bar.token && each.use !== bar.use && each.began < bar.ended && bar.began < each.ended);
    if (!bar.around) outer.push(bar);
  }
  const rows = [];
  for (const bar of outer.sort((a, b) => a.began - b.began)) {
    let row = rows.findIndex((last) => last.ended <= bar.began || last.token === bar.token);
    if (row < 0) row = rows.push(bar) - 1;
    else rows[row] = bar;
    bar.row = row;
  }
  for (const bar of bars) {
    bar.inside = Boolean(bar.around);
    if (bar.inside) bar.row = bar.around.row;
  }
  // In the order of time, and what is inside after what it is drawn upon.
  bars.sort((a, b) => a.inside - b.inside || a.began - b.began);
  const inTime = [...bars].sort((a, b) => a.began - b.began || a.inside - b.inside);
  return { lane, bars, inTime, height: Math.max(1, rows.length) * ROW + LANE_GAP };
}

const overlapOf = (a, b) => Math.min(a.ended, b.ended) - Math.max(a.began, b.began);

function makeLanes(node, openFinding) {
  const shown = scenarios.filter((each) => each.lanes.some((lane) => lane.bars.length));
  if (!shown.length) {
    node.append(h("p", { class: "card nothing" }, "This run kept no picture of its sessions."));
    return {};
  }
  let scenario = shown.find((each) => each.lanes.some((lane) => lane.bars.some((bar) => bar.colliding)))
    || shown.find((each) => each.found) || shown[0];
  let width = 0;
  let begin = 0;       // of the picture
  let end = 1;
  let from = 0;        // of what is visible
  let to = 1;
  let placed = [];     // lanes with their rows
  let drawn = [];      // bars in the order of the keyboard
  let marked = [];     // bars that the buttons lead to: colliding, else those of findings
  let chosen = [];
  let onlyBad = false;

  const select = h("select", { "aria-label": "Scenario of the picture", onchange: () => open(shown[Number(select.value)]) },
    ...shown.map((each, n) => h("option", { value: n }, each.found ? `${each.name} (${plural(each.found, "finding")})` : each.name)));
  const earlier = h("button", { type: "button", "aria-label": "Previous collision", onclick: () => step(-1) }, "‹");
  const count = h("button", { type: "button", class: "collisions", onclick: () => step(0) }, "");
  const later = h("button", { type: "button", "aria-label": "Next collision", onclick: () => step(1) }, "›");
  const only = h("input", { type: "checkbox", onchange: () => { onlyBad = only.checked; build(); } });
  const onlyLabel = h("label", {}, only, "Only lanes with findings");
  const tools = h("div", { class: "bar-of-tools" },
    h("label", {}, "Scenario", select),
    h("div", { class: "group", role: "group", "aria-label": "Collisions" }, earlier, count, later),
    onlyLabel,
    h("div", { class: "group push", role: "group", "aria-label": "Zoom and pan" },
      h("button", { type: "button", "aria-label": "Pan left", onclick: () => pan(-0.25) }, "←"),
      h("button", { type: "button", "aria-label": "Zoom out", onclick: () => zoom(2) }, "−"),
      h("button", { type: "button", "aria-label": "Show all", onclick: () => view(begin, end) }, "All"),
      h("button", { type: "button", "aria-label": "Zoom in", onclick: () => zoom(0.5) }, "+"),
      h("button", { type: "button", "aria-label": "Pan right", onclick: () => pan(0.25) }, "→")));
  const axis = s("svg", { class: "axis", height: 26, "aria-hidden": "true" });
  const grid = s("g");
  const lanes = s("g");
  const picture = s("svg", { class: "picture", role: "group", "aria-label": "Swim lanes: arrow keys move from bar to bar, Enter shows the stories" }, grid, lanes);
  const rows = h("div", { class: "rows" }, picture);
  const overview = s("svg", { class: "overview", height: 38, "aria-hidden": "true" });
  const frame = h("div", { class: "frame" }, axis, rows, overview);
  const inspector = h("div", { class: "inspector", "aria-live": "polite" });
  const swatch = (use, kind, words = use) => h("span", {}, s("svg", { width: 20, height: 12, "aria-hidden": "true" },
    s("g", { class: `bar ${use} ${kind}` }, s("rect", { x: 1, y: 1, width: 18, height: 10 }))), words);
  node.append(
    s("svg", { width: 0, height: 0, "aria-hidden": "true" }, s("defs", {}, ...USES.map((use, n) =>
      s("pattern", { id: `hatch-${use}`, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        s("rect", { class: `h${n}`, width: 6, height: 6 }),
        s("line", { class: `s${n}`, x1: 0, x2: 0, y1: 0, y2: 6, "stroke-width": 4 }))))),
    h("div", { class: "card" }, tools,
      h("div", { class: "bar-of-tools" },
        h("div", { class: "legend" }, ...USES.map((use) => swatch(use, "")), swatch("cursor", "colliding", "collision"), swatch("statement", "named", "part of a finding")),
        h("span", { class: "hint push" }, "Drag pans, Ctrl + wheel zooms; arrow keys and Enter work too")),
      frame, inspector));

  const gutter = () => (width < 600 ? 50 : 118);
  const x = (at) => gutter() + ((at - from) / (to - from)) * (width - gutter() - MARGIN_RIGHT);
  const timeAt = (place) => from + ((place - gutter()) / (width - gutter() - MARGIN_RIGHT)) * (to - from);

  function open(next) {
    scenario = next;
    select.value = String(shown.indexOf(scenario));
    const bars = scenario.lanes.flatMap((lane) => lane.bars);
    begin = Math.min(...bars.map((bar) => bar.began));
    end = Math.max(...bars.map((bar) => bar.ended));
    if (!(end > begin)) end = begin + 0.001;
    [from, to] = [begin, end];
    chosen = [];
    const anyBad = bars.some((bar) => bar.colliding);
    onlyBad = only.checked = false;
    build();
    inspector.replaceChildren(h("p", { class: "empty" }, anyBad
      ? "Choose a hatched bar to read both stories."
      : `No bar of this picture overlaps another one. Choose ${marked.length ? "an outlined" : "a"} bar to read its story.`));
  }

  function build() {
    const all = scenario.lanes.map(arrange).filter(({ bars }) => bars.length);
    const everyBar = all.flatMap(({ bars }) => bars);
    const named = new Set();
    for (const finding of findings) {
      if (finding.scenario !== scenario.name) continue;
      for (const party of [finding.culprit, finding.victim]) {
        const bar = party && closest(everyBar, party, finding);
        if (bar) named.add(bar);
      }
    }
    // Sessions in the order in which they come into the picture: their numbers come back.
    const isBad = ({ bars }) => bars.some((bar) => bar.colliding || named.has(bar));
    placed = all.filter((each) => !onlyBad || isBad(each)).sort((a, b) => a.inTime[0].began - b.inTime[0].began);
    onlyLabel.hidden = !onlyBad && (all.every(isBad) || !all.some(isBad));
    lanes.replaceChildren();
    let y = 5;
    for (const each of placed) {
      each.y = y;
      each.bad = each.bars.some((bar) => bar.colliding);
      const { lane } = each;
      const group = s("g", { class: `lane${each.bad ? " bad" : ""}`, "data-spid": lane.spid, "aria-label": `${CAPITAL_WORD} ${lane.spid}, process ${lane.process}` },
        s("line", { class: "lane-line", x1: 0, x2: 4000, y1: y + each.height - LANE_GAP / 2, y2: y + each.height - LANE_GAP / 2 }),
        s("text", { class: "spid", x: 14, y: y + 13 }, String(lane.spid), s("title", {}, `Logged in ${lane.loginTime}`)));
      if (width >= 600) group.append(s("text", { x: 44, y: y + 13 }, `pid ${lane.process}`));
      each.overlaps = collisionsOf(each).map(([a, b]) => {
        const shade = s("rect", { class: "overlap", y: y - 2, height: each.height - 1 });
        group.append(shade);
        return { a, b, shade };
      });
      for (const bar of each.bars) {
        bar.node = s("g", {
          class: `bar ${bar.use}${bar.colliding ? " colliding" : ""}`, role: "button", tabindex: "-1",
          "data-token": bar.token, "aria-label": `${bar.colliding ? "Collision: " : ""}${bar.use} of context ${bar.token} on ${WORD} ${lane.spid}, ${duration(bar.ended - bar.began)}`,
        }, s("rect", { y: y + bar.row * ROW + (bar.inside ? 5 : 0), height: bar.inside ? 8 : ROW - 3 }));
        bar.node.bar = bar;
        group.append(bar.node);
      }
      lanes.append(group);
      y += each.height;
    }
    picture.setAttribute("height", y + 4);
    drawn = placed.flatMap((each) => [...each.bars]);
    for (const bar of named) bar.node.classList.add("named");
    const bad = drawn.filter((bar) => bar.colliding && !bar.inside);
    marked = (bad.length ? bad : [...named]).sort((a, b) => a.began - b.began);
    count.textContent = bad.length ? plural(bad.length, "colliding bar") : marked.length ? plural(marked.length, "bar of findings", "bars of findings") : "No collisions";
    earlier.setAttribute("aria-label", bad.length ? "Previous collision" : "Previous bar of findings");
    later.setAttribute("aria-label", bad.length ? "Next collision" : "Next bar of findings");
    for (const button of [earlier, count, later]) button.disabled = !marked.length;
    if (drawn.length) placed[0].inTime[0].node.setAttribute("tabindex", "0");
    drawOverview();
    draw();
  }

  function collisionsOf(each) {
    const pairs = [];
    const bars = each.bars.filter((bar) => bar.colliding && !bar.inside);
    bars.forEach((a, n) => {
      for (const b of bars.slice(n + 1)) if (a.token !== b.token && overlapOf(a, b) > 0) pairs.push([a, b]);
    });
    return pairs;
  }

  function draw() {
    if (!width) return;
    const left = gutter();
    for (const each of placed) {
      for (const { a, b, shade } of each.overlaps) {
        const x1 = Math.max(left, x(Math.max(a.began, b.began)));
        const x2 = Math.min(width, x(Math.min(a.ended, b.ended)));
        shade.setAttribute("x", x1);
        shade.setAttribute("width", Math.max(0, x2 - x1));
      }
      for (const bar of each.bars) {
        const x1 = Math.max(left, x(bar.began));
        const x2 = Math.min(width, Math.max(x(bar.ended), x(bar.began) + 2));
        const visible = x2 > left && x1 < width;
        bar.node.setAttribute("display", visible ? "inline" : "none");
        if (!visible) continue;
        const rect = bar.node.firstChild;
        rect.setAttribute("x", x1);
        rect.setAttribute("width", Math.max(1.5, x2 - x1));
        const label = `#${bar.token}`;
        const fits = !bar.inside && x2 - x1 > label.length * 6.6 + 10 && !each.bars.some((other) => other.around === bar);
        let words = bar.node.querySelector("text");
        if (fits && !words) bar.node.append(words = s("text", { y: Number(rect.getAttribute("y")) + 12 }, label));
        if (!fits && words) words.remove();
        if (fits) words.setAttribute("x", x1 + 5);
      }
    }
    const bottom = picture.getAttribute("height");
    axis.replaceChildren(s("text", { x: 14, y: 17 }, width < 600 && WORD === "session" ? "spid" : WORD));
    grid.replaceChildren();
    for (const [at, label] of ticks(from - begin, to - begin, Math.max(2, Math.floor((width - left) / 100)))) {
      const place = x(at + begin);
      axis.append(s("line", { class: "base", x1: place, x2: place, y1: 20, y2: 26 }));
      axis.append(s("text", { x: Math.min(place, width - 26), y: 16, "text-anchor": place - left < 14 ? "start" : "middle" }, label));
      grid.append(s("line", { class: "grid", x1: place, x2: place, y1: 0, y2: bottom }));
    }
    const whole = width - left - MARGIN_RIGHT;
    const at = (time) => left + ((time - begin) / (end - begin)) * whole;
    brush.setAttribute("x", at(from));
    brush.setAttribute("width", Math.max(3, at(to) - at(from)));
  }

  const brush = s("rect", { class: "window", y: 0.5, height: 37 });
  function drawOverview() {
    overview.replaceChildren(s("text", { x: 14, y: 23 }, "all"));
    if (!width) return;
    const left = gutter();
    const whole = width - left - MARGIN_RIGHT;
    const tall = 30 / Math.max(1, placed.length);
    const isMarked = (bar) => bar.colliding || bar.node.classList.contains("named");
    const tick = (bar, n) => overview.append(s("rect", {
      class: `tick-${isMarked(bar) ? "colliding" : bar.use}`,
      x: left + ((bar.began - begin) / (end - begin)) * whole, y: 4 + n * tall,
      width: Math.max(1, ((bar.ended - bar.began) / (end - begin)) * whole), height: Math.max(1, tall - 0.6),
    }));
    placed.forEach((each, n) => each.bars.forEach((bar) => !bar.inside && !isMarked(bar) && tick(bar, n)));
    placed.forEach((each, n) => each.bars.forEach((bar) => isMarked(bar) && tick(bar, n)));
    overview.append(brush);
  }

  let waiting = false;
  function view(first, last) {
    const range = Math.min(end - begin, Math.max(2e-5, last - first));
    from = Math.max(begin, Math.min(first, end - range));
    to = from + range;
    if (!waiting) {
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(); });
    }
  }
  function zoom(factor, around = (from + to) / 2) {
    view(around - (around - from) * factor, around + (to - around) * factor);
  }
  const pan = (part) => view(from + (to - from) * part, to + (to - from) * part);

  function reveal(bar) {
    if (bar.ended < from || bar.began > to) {
      const range = to - from;
      view((bar.began + bar.ended - range) / 2, (bar.began + bar.ended + range) / 2);
    }
    const rect = bar.node.firstChild;
    const top = Number(rect.getAttribute("y"));
    if (top < rows.scrollTop + 8 || top > rows.scrollTop + rows.clientHeight - 30) rows.scrollTop = top - rows.clientHeight / 2;
  }

  function choose(bars) {
    for (const bar of chosen) bar.node.classList.remove("chosen");
    chosen = bars;
    for (const bar of chosen) bar.node.classList.add("chosen");
    for (const each of drawn) each.node.setAttribute("tabindex", each === bars[0] ? "0" : "-1");
    if (bars[0]) reveal(bars[0]);
  }

  function pick(bar) {
    const others = bar.lane.bars.length && drawn.filter((each) => each.lane === bar.lane && each.token !== bar.token && overlapOf(each, bar) > 0 && each.colliding && bar.colliding)
      .sort((a, b) => overlapOf(b, bar) - overlapOf(a, bar));
    const other = others && others[0];
    const pair = (other ? [bar, other] : [bar]).sort((a, b) => a.began - b.began);
    choose(other ? [bar, other] : [bar]);
    const tokens = new Set(pair.map((each) => each.token));
    const related = findings.filter((each) => each.scenario === scenario.name
      && (each.spid === null || each.spid === bar.lane.spid)
      && [each.culprit, each.victim].some((party) => party && party.token === bar.token));
    const exact = related.find((each) => other && each.culprit && each.victim && tokens.has(each.culprit.token) && tokens.has(each.victim.token));
    const finding = exact || (!other && related[0]);
    if (!other && finding) {
      const parts = [finding.culprit, finding.victim].map((party) => party && closest(drawn, party, finding));
      choose([bar, ...parts.filter((each) => each && each.token !== bar.token)]);
      openFinding(finding, inspector);
      return;
    }
    const overlap = other ? overlapOf(pair[0], pair[1]) : 0;
    showStories(inspector, {
      tag: other ? "shared session" : bar.use,
      isLeak: Boolean(other),
      sentence: exact ? exact.message : other
        ? `${WORD} ${bar.lane.spid} had two contexts at a time`
        : `${WORD} ${bar.lane.spid}, process ${bar.lane.process}`,
      sub: other
        ? `The bars overlap for ${duration(overlap)}${others.length > 1 ? `; ${plural(others.length - 1, "other bar")} overlapped it too` : ""}. Times from the picture's beginning, ${duration(begin)} into the run.`
        : `Times from the picture's beginning, ${duration(begin)} into the run.`,
      sides: pair.map((each, n) => sideOf(scenario, { bar: each, accused: n === 1, role: other ? ["Had it first", "Came in between"][n] : "The context" })),
      zero: begin,
    });
  }

  function step(direction) {
    if (!marked.length) return;
    const now = marked.indexOf(chosen[0]);
    const next = now < 0 ? (direction < 0 ? marked.length - 1 : 0) : (now + direction + marked.length) % marked.length;
    const bar = marked[next];
    if (to - from > (end - begin) * 0.5) {
      const range = Math.min(end - begin, Math.max((bar.ended - bar.began) * 14, (end - begin) / 12));
      view((bar.began + bar.ended - range) / 2, (bar.began + bar.ended + range) / 2);
    }
    pick(bar);
  }

  const barAt = (event) => { const found = event.target.closest && event.target.closest(".bar"); return found && found.bar; };
  let drag = null;
  rows.addEventListener("pointerdown", (event) => {
    if (event.button === 0) drag = { x: event.clientX, from, to, moved: false, id: event.pointerId };
  });
  rows.addEventListener("pointermove", (event) => {
    if (drag) {
      const moved = event.clientX - drag.x;
      if (!drag.moved && Math.abs(moved) > 4) {
        drag.moved = true;
        rows.setPointerCapture(drag.id);
        rows.classList.add("dragged");
        hideTip();
      }
      if (drag.moved) {
        const seconds = (moved / (width - gutter() - MARGIN_RIGHT)) * (drag.to - drag.from);
        view(drag.from - seconds, drag.to - seconds);
      }
      return;
    }
    const bar = barAt(event);
    if (!bar) return hideTip();
    const told = scenario.stories.get(bar.token);
    showTip(event, h("b", {}, told ? told.what : `context ${bar.token}`),
      `${bar.colliding ? "collides: " : ""}${bar.use}, ${duration(bar.ended - bar.began)}, at ${duration(bar.began - begin)}`,
      h("code", {}, bar.statement));
  });
  const drop = () => {
    rows.classList.remove("dragged");
    setTimeout(() => { drag = null; });
  };
  rows.addEventListener("pointerup", drop);
  rows.addEventListener("pointercancel", drop);
  rows.addEventListener("pointerleave", hideTip);
  rows.addEventListener("click", (event) => {
    if (drag && drag.moved) return;
    const bar = barAt(event);
    if (bar) pick(bar);
  });
  rows.addEventListener("dblclick", (event) => {
    const bar = barAt(event);
    const range = bar ? (bar.ended - bar.began) * 4 : (to - from) / 3;
    const middle = bar ? (bar.began + bar.ended) / 2 : timeAt(event.clientX - frame.getBoundingClientRect().left);
    view(middle - range / 2, middle + range / 2);
  });
  const wheel = (always) => (event) => {
    if (always || event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.006), timeAt(event.clientX - frame.getBoundingClientRect().left));
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      pan(((event.deltaX || event.deltaY) / width) * 1.2);
    }
  };
  rows.addEventListener("wheel", wheel(false), { passive: false });
  axis.addEventListener("wheel", wheel(true), { passive: false });
  overview.addEventListener("wheel", wheel(true), { passive: false });
  const centre = (event) => {
    const place = event.clientX - frame.getBoundingClientRect().left - gutter();
    const middle = begin + (place / (width - gutter() - MARGIN_RIGHT)) * (end - begin);
    view(middle - (to - from) / 2, middle + (to - from) / 2);
  };
  overview.addEventListener("pointerdown", (event) => { overview.setPointerCapture(event.pointerId); centre(event); });
  overview.addEventListener("pointermove", (event) => { if (event.buttons & 1) centre(event); });
  picture.addEventListener("keydown", (event) => {
    const bar = barAt(event);
    if (!bar) return;
    const lane = placed.find((each) => each.lane === bar.lane);
    const order = lane.inTime;
    const here = order.indexOf(bar);
    let next = null;
    if (event.key === "Enter" || event.key === " ") pick(bar);
    else if (event.key === "ArrowRight") next = order[here + 1];
    else if (event.key === "ArrowLeft") next = order[here - 1];
    else if (event.key === "Home") next = order[0];
    else if (event.key === "End") next = order[order.length - 1];
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const neighbour = placed[placed.indexOf(lane) + (event.key === "ArrowDown" ? 1 : -1)];
      if (neighbour) next = neighbour.bars.reduce((best, each) => (Math.abs(each.began - bar.began) < Math.abs(best.began - bar.began) ? each : best));
    } else if (event.key === "+") zoom(0.5, (bar.began + bar.ended) / 2);
    else if (event.key === "-") zoom(2, (bar.began + bar.ended) / 2);
    else return;
    event.preventDefault();
    if (next) {
      reveal(next);
      draw();
      bar.node.setAttribute("tabindex", "-1");
      next.node.setAttribute("tabindex", "0");
      next.node.focus({ preventScroll: true });
    }
  });
  onWidth(frame, (now) => {
    const wasNarrow = width < 600;
    width = now;
    for (const each of [axis, picture, overview]) each.setAttribute("width", width);
    if (wasNarrow !== width < 600 || !placed.length) build();
    else { drawOverview(); draw(); }
  });
  open(scenario);

  return {
    open(name) {
      const owner = shown.find((each) => each.name === name);
      if (owner && owner !== scenario) open(owner);
    },
    // Whether a picture has a bar of a finding.
    has(finding) {
      const owner = shown.find((each) => each.name === finding.scenario);
      const tokens = [finding.culprit, finding.victim].filter(Boolean).map((party) => party.token);
      return Boolean(owner) && owner.lanes.some((lane) => lane.bars.some((bar) => tokens.includes(bar.token)));
    },
    show(finding) {
      const owner = shown.find((each) => each.name === finding.scenario);
      if (owner !== scenario) open(owner);
      if (onlyBad) { onlyBad = only.checked = false; build(); }
      const parties = [finding.culprit, finding.victim].filter(Boolean);
      const bars = parties.map((party) => closest(drawn, party, finding)).filter(Boolean);
      if (bars.length) {
        const first = Math.min(...bars.map((bar) => bar.began));
        const last = Math.max(...bars.map((bar) => bar.ended));
        const range = Math.max((last - first) * 3, (end - begin) / 20);
        view((first + last - range) / 2, (first + last + range) / 2);
        choose(bars);
      }
      openFinding(finding, inspector);
      frame.scrollIntoView({ block: "center" });
    },
    nearest: (finding, party) => {
      const owner = shown.find((each) => each.name === finding.scenario);
      return owner ? closest(owner.lanes.flatMap((lane) => lane.bars.map((bar) => ({ ...bar, spid: lane.spid }))), party, finding) : null;
    },
    beginOf(finding) {
      const owner = shown.find((each) => each.name === finding.scenario);
      return owner ? Math.min(...owner.lanes.flatMap((lane) => lane.bars.map((bar) => bar.began))) : 0;
    },
  };
}

// Of the bars of a party the one that its part in the finding was played in.
function closest(bars, party, finding) {
  const own = bars.filter((bar) => bar.token === party.token);
  const there = own.filter((bar) => finding.spid === null || bar.spid === finding.spid);
  const at = party.at === null ? finding.at : party.at;
  const distance = (bar) => Math.max(0, bar.began - at, at - bar.ended) + (bar.colliding ? 0 : 1e-7);
  return (there.length ? there : own).sort((a, b) => distance(a) - distance(b) || (b.ended - b.began) - (a.ended - a.began))[0] || null;
}
