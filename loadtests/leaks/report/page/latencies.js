// A histogram for each scenario, all on one logarithmic scale of time.
function makeLatencies(node) {
  const measured = scenarios.filter((each) => each.latencies.counts.length);
  if (!measured.length) {
    node.append(h("p", { class: "card nothing" }, "This run kept no latencies."));
    return;
  }
  const bounds = measured.flatMap((each) => each.latencies.counts.map(([bound]) => bound));
  const low = Math.floor(Math.log10(Math.min(...bounds) * 0.79));
  const high = Math.ceil(Math.log10(Math.max(...bounds)) - 1e-9);
  const most = Math.log10(1 + Math.max(...measured.flatMap((each) => each.latencies.counts.map(([, count]) => count))));
  const HEIGHT = 34;
  const scale = s("svg", { height: 18, "aria-hidden": "true" });
  const rows = measured.map((each) => ({ each, picture: s("svg", {
    height: HEIGHT, role: "img", class: "histogram", "data-scenario": each.name,
    "aria-label": `Latency of ${each.name}: half below ${duration(each.latencies.p50)}, 99% below ${duration(each.latencies.p99)}`,
  }) }));
  const measure = h("div", { class: "picture" }, scale);
  node.append(h("div", { class: "card ridge" },
    h("div", { class: "scale" }, h("span", {}), measure, h("span", {}, "p50"), h("span", {}, "p99"), h("span", { class: "optional" }, "max")),
    ...rows.map(({ each, picture }) => h("div", { class: "row" }, h("span", { title: each.title }, each.name),
      h("div", { class: "picture" }, picture), h("span", {}, duration(each.latencies.p50)), h("span", {}, duration(each.latencies.p99)),
      h("span", { class: "optional" }, duration(each.latencies.max))))));
  onWidth(measure, (width) => {
    const x = (seconds) => ((Math.log10(seconds) - low) / (high - low)) * (width - 2) + 1;
    scale.replaceChildren();
    for (let power = low; power <= high; power += 1) {
      const place = x(10 ** power);
      scale.append(s("text", { x: place, y: 13, "text-anchor": power === low ? "start" : power === high ? "end" : "middle" }, duration(10 ** power).replace(/\.0+ /, " ").replace(/^(\d+)\.00? /, "$1 ")));
    }
    for (const { each, picture } of rows) {
      picture.replaceChildren(s("line", { class: "base", x1: 0, x2: width, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }));
      for (let power = low; power <= high; power += 1) picture.append(s("line", { class: "grid", x1: x(10 ** power), x2: x(10 ** power), y1: 0, y2: HEIGHT }));
      for (const [bound, count] of each.latencies.counts) {
        const x1 = x(bound / 10 ** 0.1);
        const tall = Math.max(1.5, (Math.log10(1 + count) / most) * (HEIGHT - 4));
        picture.append(s("rect", { class: bound / 10 ** 0.1 >= each.latencies.p99 ? "tail" : "column", x: x1 + 0.5, y: HEIGHT - 1 - tall, width: Math.max(1, x(bound) - x1 - 1), height: tall },
          s("title", {}, `${plural(count, "context")} took ${duration(bound / 10 ** 0.1)} to ${duration(bound)}`)));
      }
      for (const at of [each.latencies.p50, each.latencies.p99]) picture.append(s("line", { class: "p", x1: x(at), x2: x(at), y1: HEIGHT - 7, y2: HEIGHT }));
    }
  });
}
