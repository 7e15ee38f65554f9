// Draws everything, and lets the parts lead to each other.
const lanes = makeLanes(document.getElementById("lanes"), (finding, node) => findingStories(lanes, finding, node));
makeSeries(document.getElementById("series"));
makeLatencies(document.getElementById("latencies"));
const list = makeFindings(document.getElementById("list"), lanes);

for (const link of document.querySelectorAll("a[data-detector]")) {
  link.addEventListener("click", () => list.filter(link.dataset.scenario, Number(link.dataset.detector)));
}
for (const link of document.querySelectorAll("a[data-lanes]")) {
  link.addEventListener("click", () => lanes.open && lanes.open(link.dataset.lanes));
}
const copy = document.getElementById("copy");
if (copy && navigator.clipboard) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(document.getElementById("command").textContent);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(document.getElementById("command"));
      copy.textContent = "Selected";
    }
    setTimeout(() => { copy.textContent = "Copy"; }, 1600);
  });
}
