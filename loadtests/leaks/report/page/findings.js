// The list of findings, filtered by detector, scenario and words.
const PAGE_SIZE = 40;

// Both stories of a finding, into a node.
function findingStories(lanes, finding, node) {
  const scenario = scenarios.find((each) => each.name === finding.scenario);
  const zero = lanes.beginOf ? lanes.beginOf(finding) : 0;
  const roles = [[finding.culprit, "Did it, or left it"], [finding.victim, "Came upon it"]];
  const sides = roles.filter(([party]) => party).map(([party, role]) =>
    sideOf(scenario, { party, role, accused: party === finding.culprit, bar: lanes.nearest ? lanes.nearest(finding, party) : null }));
  showStories(node, {
    tag: finding.name,
    isLeak: true,
    sentence: finding.message,
    sub: `${finding.spid === null ? "" : `${CAPITAL_WORD} ${finding.spid}, `}${finding.scenario}, ${finding.at.toFixed(3)} s into the run. ${zero ? "Times from the picture's beginning." : "Times from the run's beginning."}`,
    sides,
    zero,
  });
}

function makeFindings(node, lanes) {
  if (!findings.length) {
    node.append(h("p", { class: "card nothing" }, scenarios.some((each) => each.found)
      ? "This report has counts only: no finding was kept." : "Nothing was found."));
    return { filter() {} };
  }
  const on = new Set();
  let scenario = "";
  let words = "";
  let most = PAGE_SIZE;
  const present = [...new Set(findings.map((each) => each.detector))].sort((a, b) => a - b);
  const chips = present.map((detector) => h("button", {
    type: "button", class: "chip", "aria-pressed": "false", "data-detector": detector,
    onclick: () => { if (!on.delete(detector)) on.add(detector); again(); },
  }, DATA.detectors[detector], h("b", {}, "")));
  const names = [...new Set(findings.map((each) => each.scenario))];
  const select = h("select", { "aria-label": "Scenario of the findings", onchange: () => { scenario = select.value; again(); } },
    h("option", { value: "" }, "All scenarios"), ...names.map((name) => h("option", { value: name }, name)));
  const search = h("input", { type: "search", placeholder: "Words, a session, a place", "aria-label": "Words in the findings", oninput: () => { words = search.value.trim().toLowerCase(); again(); } });
  const list = h("div", { class: "items" });
  const foot = h("div", { class: "more" });
  node.append(h("div", { class: "card" }, h("div", { class: "bar-of-tools" },
    h("div", { class: "chips", role: "group", "aria-label": "Detectors" }, ...chips), select, search), list, foot));

  const haystack = new Map();
  const matches = (finding, besidesDetector) => {
    if (!besidesDetector && on.size && !on.has(finding.detector)) return false;
    if (scenario && finding.scenario !== scenario) return false;
    if (!words) return true;
    if (!haystack.has(finding)) {
      const parties = [finding.culprit, finding.victim].filter(Boolean).flatMap((party) => [party.what, party.statement, party.place]);
      haystack.set(finding, [finding.name, finding.message, finding.scenario, `${WORD} ${finding.spid}`, ...parties].join("\n").toLowerCase());
    }
    return words.split(/\s+/).every((word) => haystack.get(finding).includes(word));
  };

  function again() {
    most = PAGE_SIZE;
    draw();
  }
  function draw() {
    const shown = findings.filter((each) => matches(each, false));
    for (const chip of chips) {
      const detector = Number(chip.dataset.detector);
      chip.setAttribute("aria-pressed", String(on.has(detector)));
      chip.lastChild.textContent = grouped(findings.filter((each) => each.detector === detector && matches(each, true)).length);
    }
    list.replaceChildren(...shown.slice(0, most).map(item));
    if (!shown.length) list.append(h("p", { class: "nothing" }, "No finding matches."));
    const total = scenarios.reduce((sum, each) => sum + each.found, 0);
    const left = shown.length - most;
    foot.replaceChildren(
      left > 0 ? h("button", { type: "button", onclick: () => { most += PAGE_SIZE * 5; draw(); } }, `Show ${grouped(Math.min(left, PAGE_SIZE * 5))} more`) : "",
      h("span", {}, `${grouped(Math.min(most, shown.length))} of ${plural(shown.length, "finding")} shown`
        + (total > findings.length ? `. ${grouped(total - findings.length)} more were counted and not kept.` : ".")));
  }
  function item(finding) {
    const body = h("div", { class: "opened", hidden: true });
    const head = h("button", { type: "button", "aria-expanded": "false", onclick: () => {
      body.hidden = !body.hidden;
      head.setAttribute("aria-expanded", String(!body.hidden));
      if (body.hidden || body.childNodes.length) return;
      const stories = h("div", {});
      body.append(stories);
      findingStories(lanes, finding, stories);
      if (lanes.has && lanes.has(finding)) body.append(h("button", { type: "button", class: "to-lanes", onclick: () => lanes.show(finding) }, "Show in the lanes"));
    } },
    h("span", { class: "tag" }, finding.name), h("span", { class: "message" }, finding.message),
    h("span", { class: "scenario" }, finding.scenario), h("span", { class: "when" }, `${finding.at.toFixed(3)} s`));
    return h("div", { class: "item", "data-detector": finding.detector, "data-scenario": finding.scenario }, head, body);
  }
  draw();
  return {
    filter(name, detector) {
      scenario = names.includes(name) ? name : "";
      select.value = scenario;
      search.value = words = "";
      on.clear();
      if (present.includes(detector)) on.add(detector);
      again();
    },
  };
}
