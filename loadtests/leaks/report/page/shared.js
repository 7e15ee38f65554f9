// The data as html.py packs it, and what every picture needs. Times: seconds since the run began.
const DATA = JSON.parse(document.getElementById("data").textContent);
const text = (number) => DATA.texts[number];
const USES = DATA.uses;
// "session", or "connection" where the database does not number its sessions.
const WORD = DATA.word;
const CAPITAL_WORD = WORD[0].toUpperCase() + WORD.slice(1);

const scenarios = DATA.scenarios.map((each, number) => ({
  ...each,
  number,
  lanes: each.lanes.map(([spid, loginTime, process, bars]) => ({
    spid,
    loginTime: text(loginTime),
    process,
    bars: bars.map(([token, use, began, ended, statement, place, colliding]) => ({
      token, use: USES[use], began, ended, statement: text(statement), place: text(place),
      colliding: Boolean(colliding),
    })),
  })),
  stories: new Map(Object.entries(each.stories).map(
    ([token, [what, kind, began, ended, outcome, task, process]]) => [Number(token), {
      what: text(what), kind: text(kind), began, ended, outcome: text(outcome), task: text(task), process,
    }])),
}));

const partyOf = (packed) => packed && {
  token: packed[0], what: text(packed[1]), statement: text(packed[2]), place: text(packed[3]), at: packed[4],
  acquired: packed[5],
};
const findings = DATA.findings.map(([detector, message, scenario, at, spid, culprit, victim], number) => ({
  number, detector, name: DATA.detectors[detector], message: text(message), scenario: text(scenario), at, spid,
  culprit: partyOf(culprit), victim: partyOf(victim),
}));

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const grouped = (count) => count.toLocaleString("en-US");
const digits = (value) => (value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : value.toFixed(0));
function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const size = Math.abs(seconds);
  const sign = seconds < 0 ? "−" : "";
  if (size < 0.0009995) return `${sign}${(size * 1e6).toFixed(0)} µs`;
  if (size < 0.9995) return `${sign}${digits(size * 1e3)} ms`;
  if (size < 99.95) return `${sign}${digits(size)} s`;
  const whole = Math.round(size);
  return `${sign}${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}
const plural = (count, one, many) => `${grouped(count)} ${count === 1 ? one : many || `${one}s`}`;

// Steps of an axis that are easy to read: 1, 2 or 5 times a power of ten.
function stepFor(range, most) {
  const rough = range / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
}
// A label whose unit is that of the whole axis.
function ticks(from, to, most) {
  const step = stepFor(to - from, most);
  const largest = Math.max(Math.abs(from), Math.abs(to));
  const [unit, size] = largest < 0.001 ? ["µs", 1e-6] : largest < 1.5 ? ["ms", 1e-3] : ["s", 1];
  const decimals = Math.max(0, -Math.floor(Math.log10(step / size) + 1e-9));
  const result = [];
  for (let n = Math.ceil(from / step - 1e-9); n * step <= to + step * 1e-9; n += 1) {
    result.push([n * step, `${((n * step) / size).toFixed(decimals)} ${unit}`]);
  }
  return result;
}

// Calls back with the width of a node now and whenever it changes.
function onWidth(node, callback) {
  let last = 0;
  new ResizeObserver(() => {
    const width = Math.floor(node.clientWidth);
    if (width && width !== last) {
      last = width;
      callback(width);
    }
  }).observe(node);
}

const tip = h("div", { class: "tip", hidden: true, role: "presentation" });
document.body.append(tip);
function showTip(event, ...children) {
  tip.replaceChildren(...children);
  tip.hidden = false;
  const { innerWidth, innerHeight } = window;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
  const below = event.clientY + 18;
  tip.style.top = `${below + box.height > innerHeight - 8 ? event.clientY - box.height - 12 : below}px`;
}
const hideTip = () => { tip.hidden = true; };
