// Two contexts side by side: what each of them did, and when, on one scale.

// A side: what is known of one context. `bar` is its unit in a picture, `party` its part in a
// finding; either may be missing. `accused`: it is the one that did or left something.
function sideOf(scenario, { bar, party, role, accused }) {
  const token = bar ? bar.token : party.token;
  const told = scenario && scenario.stories.get(token);
  return {
    role, token, accused,
    what: (told && told.what) || (party && party.what) || `context ${token}`,
    told,
    unit: bar && { use: bar.use, began: bar.began, ended: bar.ended },
    statement: (party && party.statement) || (bar && bar.statement) || "",
    place: (party && party.place) || (bar && bar.place) || "",
    at: party ? party.at : null,
    acquired: party ? party.acquired : null,
  };
}

function storyCard(side, zero) {
  const rows = [];
  const row = (name, value) => value && rows.push(h("dt", {}, name), h("dd", {}, value));
  const span = (began, ended) => `${duration(began - zero)} to ${ended === null ? "not ended" : duration(ended - zero)}`;
  if (side.unit) {
    row("Had the session", `${span(side.unit.began, side.unit.ended)} (${duration(side.unit.ended - side.unit.began)}), for a ${side.unit.use}`);
  }
  if (side.told) {
    const lived = side.told.ended === null ? "" : ` (${duration(side.told.ended - side.told.began)})`;
    row("Lived", span(side.told.began, side.told.ended) + lived);
    row("Ended", side.told.outcome);
    row("Task", side.told.task);
    row("Process", String(side.told.process || ""));
  }
  if (!side.unit && side.at !== null) row("At", duration(side.at - zero));
  row("Lease acquired at", side.place && h("code", {}, side.place));
  if (side.acquired !== null) row("Lease acquired", duration(side.acquired - zero));
  return h("article", { class: `story${side.accused ? " accused" : ""}`, "data-token": side.token },
    h("p", { class: "role" }, h("i", {}), side.role),
    h("h4", {}, side.what),
    h("dl", {}, ...rows),
    side.statement ? h("pre", { tabindex: "0", "aria-label": "Statement" }, side.statement) : null);
}

// Lives as thin lines, units as thick ones; what both had at once is shaded.
function diagram(sides, zero, width) {
  const times = sides.flatMap((side) => [
    side.unit && side.unit.began, side.unit && side.unit.ended, side.at,
    side.told && side.told.began, side.told && side.told.ended,
  ]).filter((at) => at !== null && at !== undefined);
  const first = Math.min(...times);
  const last = Math.max(...times);
  if (!(last > first)) return null;
  const left = 6;
  const right = width - 6;
  const x = (at) => left + ((at - first) / (last - first)) * (right - left);
  const rowOf = (n) => 8 + n * 20;
  const height = sides.length * 20 + 26;
  const picture = s("svg", { width, height, class: "diagram", role: "img", "aria-label": "Both contexts on one time scale" });
  const units = sides.map((side) => side.unit).filter(Boolean);
  if (units.length === 2) {
    const from = Math.max(units[0].began, units[1].began);
    const to = Math.min(units[0].ended, units[1].ended);
    if (to > from) picture.append(s("rect", { class: "overlap", x: x(from), y: 0, width: Math.max(1.5, x(to) - x(from)), height: height - 20 }));
  }
  sides.forEach((side, n) => {
    const middle = rowOf(n) + 6;
    if (side.told) {
      const ended = side.told.ended === null ? last : side.told.ended;
      picture.append(s("line", { class: "life", x1: x(side.told.began), x2: Math.max(x(side.told.began) + 2, x(ended)), y1: middle, y2: middle }));
    }
    const colour = side.accused ? "unit-b" : "unit-a";
    if (side.unit) picture.append(s("rect", { class: colour, x: x(side.unit.began), y: rowOf(n), height: 12, rx: 2, width: Math.max(2, x(side.unit.ended) - x(side.unit.began)) }));
    else if (side.at !== null) picture.append(s("circle", { class: colour, cx: x(side.at), cy: middle, r: 5 }));
  });
  const base = height - 18;
  picture.append(s("line", { class: "base", x1: left, x2: right, y1: base, y2: base }));
  for (const [at, label] of ticks(first - zero, last - zero, Math.max(2, Math.floor(width / 110)))) {
    const place = x(at + zero);
    const anchor = place < 24 ? "start" : place > width - 24 ? "end" : "middle";
    picture.append(s("line", { class: "base", x1: place, x2: place, y1: base, y2: base + 4 }),
      s("text", { x: place, y: base + 15, "text-anchor": anchor }, label));
  }
  return picture;
}

// `title`: a tag and a sentence. `zero`: the time that the others are told relative to.
function showStories(node, { tag, isLeak, sentence, sub, sides, zero }) {
  const place = h("div", { class: "diagram" });
  node.replaceChildren(h("div", { class: "pair" },
    h("h3", {}, h("span", { class: `tag${isLeak ? "" : " plain"}` }, tag), h("span", { class: "what" }, sentence)),
    sub ? h("p", { class: "sub" }, sub) : null,
    place,
    h("div", { class: `stories${sides.length === 1 ? " one" : ""}` },
      ...sides.map((side) => storyCard(side, zero)))));
  onWidth(place, (width) => {
    const picture = diagram(sides, zero, width);
    place.replaceChildren(...(picture ? [picture] : []));
  });
}
