// What a person sees: reads the settings, asks the models, and shows their answers. The mathematics is in models.js.
"use strict";

const NAMES = 12; // drawn from each model
const LONGEST_NAME = 200; // characters, as in sample.py
const MOST_ROWS = 40; // of the next character: of more, the likeliest
const SATURATED = 0.97; // as in saturation.png
const ORDER = 6; // of the n-gram model

const run = JSON.parse(document.getElementById("run").textContent);
const vocabulary = run.labels.length;
const network = makeNetwork(run);
const models = [network]; // and the count-based ones, if the page has the training names
const looks = ["network", "bigram", "ngram"]; // the classes that give the models their colours
const $ = (id) => document.getElementById(id);
const percent = (p) => (p < 0.0005 ? "0" : p >= 0.9995 ? "100" : (100 * p).toFixed(1));
const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

const state = { prefix: run.prefix, temperature: 1, top_k: vocabulary, seed: 1, sorted: false };
const knownNames = new Set(run.train?.split("\n"));

// ---- The settings, and the address that holds them

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const number = (name, least, most) => {
    const value = given.has(name) && given.get(name).trim() !== "" ? Number(given.get(name)) : NaN;
    return Number.isFinite(value) ? Math.min(most, Math.max(least, value)) : null;
  };
  state.prefix = Array.from(given.get("prefix") ?? run.prefix).slice(0, $("prefix").maxLength).join("");
  state.temperature = number("temperature", 0, 2) ?? 1;
  state.top_k = Math.round(number("top_k", 1, vocabulary) ?? vocabulary);
  state.seed = Math.round(number("seed", 0, 2 ** 31) ?? 1);
  state.sorted = given.get("sorted") === "1";
  $("prefix").value = state.prefix;
  $("temperature").value = state.temperature;
  $("top_k").value = state.top_k;
  $("sorted").checked = state.sorted;
}

let waiting = null;
function writeAddress() {
  clearTimeout(waiting); // browsers refuse more than a few changes a second
  waiting = setTimeout(() => {
    const { prefix, temperature, top_k, seed, sorted } = state;
    const settings = new URLSearchParams({ prefix });
    if (temperature !== 1) settings.set("temperature", temperature);
    if (top_k !== vocabulary) settings.set("top_k", top_k);
    if (seed !== 1) settings.set("seed", seed);
    if (sorted) settings.set("sorted", 1);
    history.replaceState(null, "", `#${settings}`);
  }, 300);
}

// ---- Parts of the page

// An element of HTML with attributes and children: make("th", { scope: "row" }, "a").
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// The same of SVG.
function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// A row of a table: its label, and for each model a number as text, and as a bar of this share of the cell.
function makeRow(label, cells, id) {
  const row = make("tr", id === undefined ? {} : { "data-id": id }, make("th", { scope: "row" }, label));
  cells.forEach(({ value, text, share }, i) => {
    const bar = make("span", { class: "bar" });
    bar.style.width = `${100 * share}%`;
    row.append(make("td", { class: looks[i] }, make("div", {}, make("data", { value }, text), bar)));
  });
  return row;
}

// The row of a table's head: each model with its dev loss, once that has been measured, and what `describe` makes of it.
function makeHead(describe = () => "") {
  const heads = models.map((model, i) => {
    const loss = make("data", { value: model.devLoss ?? "" }, model.devLoss?.toFixed(3) ?? "…");
    const name = make("strong", { class: looks[i] }, model.name);
    return make("th", { scope: "col" }, name, make("div", {}, "dev loss ", loss), describe(model));
  });
  const first = make("th", { scope: "col" }, make("span", { class: "spoken" }, "character"));
  return make("thead", {}, make("tr", {}, first, ...heads));
}

// What a model sees of a context: at the beginning of a name one boundary, however many the network reads.
function writeContext(model, ids) {
  return [0, ...ids].slice(-model.sees).map((id) => run.labels[id]).join("");
}

// ---- What each part shows

function showNext(ids) {
  const distributions = models.map((model) => soften(model.logits(ids), state.temperature, state.top_k));
  const all = [...run.labels.keys()];
  const byLikelihood = [...all].sort((a, b) => distributions[0][b] - distributions[0][a]);
  const shown = state.sorted || vocabulary > MOST_ROWS ? byLikelihood.slice(0, MOST_ROWS) : all;
  const largest = Math.max(...distributions.flatMap((p) => shown.map((id) => p[id])));
  const rows = shown.map((id) =>
    makeRow(run.labels[id], distributions.map((p) => ({ value: p[id], text: percent(p[id]), share: p[id] / largest })), id),
  );
  const head = makeHead((model) => make("div", {}, "after ", make("span", { class: "context" }, writeContext(model, ids))));
  $("next-table").replaceChildren(head, make("tbody", {}, ...rows));
  const likeliest = distributions.map((p, i) => `${run.labels[p.indexOf(Math.max(...p))]} by ${models[i].name}`);
  $("next-spoken").textContent = `Likeliest next: ${likeliest.join(", ")}`;
  const left = vocabulary - shown.length;
  $("next-note").textContent =
    `In percent; “${run.labels[0]}” is the end of the name. Click a row to add its character.` +
    (left > 0 ? ` The ${shown.length} likeliest of ${vocabulary.toLocaleString("en")} by ${run.model}.` : "");
}

function showEmbedding(context) {
  const { title, axes, places } = run.embedding;
  const ends = [0, 1].map((axis) => [Math.min(...places.map((p) => p[axis])), Math.max(...places.map((p) => p[axis]))]);
  const scale = (value, [least, most], size) => 20 + ((value - least) / (most - least || 1)) * (size - 40);
  const points = places.map(([x, y]) => [scale(x, ends[0], 440), 400 - scale(y, ends[1], 400)]);
  const read = new Set(context);
  const radius = Math.max(3, 11 * Math.min(1, Math.sqrt(27 / vocabulary))); // page.py keeps tokens this far apart
  $("embedding").setAttribute("class", radius < 9 ? "crowded" : "");
  const way = makeSvg("polyline", { class: "way", points: context.map((id) => points[id].join(",")).join(" ") });
  const tokens = points.map(([x, y], id) => {
    const kind = id === 0 ? "place boundary" : run.vowels.includes(id) ? "place vowel" : "place";
    const circle = makeSvg("circle", { class: kind, cx: x, cy: y, r: read.has(id) ? 13 : radius });
    const label = read.has(id) || vocabulary <= run.mostLabels ? [makeSvg("text", { x, y }, run.labels[id])] : [];
    return makeSvg("g", { class: read.has(id) ? "read" : "", "data-id": id }, circle, ...label);
  });
  // What is read lies above everything else.
  const isRead = (token) => Number(token.getAttribute("class") === "read");
  tokens.sort((a, b) => isRead(a) - isRead(b));
  $("embedding").replaceChildren(way, ...tokens);
  const text = context.map((id) => run.labels[id]).join("");
  $("embedding").setAttribute("aria-label", `${title}; the context ${text} is highlighted`);
  const names = !axes || axes[0].startsWith("C[") ? "" : ` Across: ${axes[0]}; up: ${axes[1]}.`;
  $("embedding-note").replaceChildren(
    `The ${title}.${names} The line joins what the network reads now, “${text}”, in its order. Vowels are orange, the boundary is grey.`,
  );
}

// Draws a layer once; later only colours change.
function showHidden(layers) {
  const shown = layers.filter((h) => h.length > 0);
  $("hidden").hidden = shown.length === 0;
  shown.forEach((h, number) => {
    let figure = $("layers").children[number];
    if (!figure) {
      const columns = Math.ceil(Math.sqrt(3 * h.length));
      const cells = Array.from(h, (_, i) =>
        makeSvg("rect", { x: i % columns, y: Math.floor(i / columns), width: 0.9, height: 0.9 }),
      );
      const box = `0 0 ${columns} ${Math.ceil(h.length / columns)}`;
      figure = make("div", {}, makeSvg("svg", { viewBox: box, role: "img" }, ...cells), make("p", { class: "note" }));
      $("layers").append(figure);
    }
    const [svg, note] = figure.children;
    h.forEach((value, i) => {
      svg.children[i].setAttribute("class", value < 0 ? "negative" : "");
      svg.children[i].setAttribute("fill-opacity", Math.abs(value).toFixed(3));
    });
    const saturated = h.filter((value) => Math.abs(value) > SATURATED).length;
    const layer = shown.length > 1 ? `Layer ${number + 1}: ` : "";
    note.textContent = `${layer}${count(h.length, "unit")}, ${saturated} of them saturated (beyond ±${SATURATED}).`;
    svg.setAttribute("aria-label", note.textContent);
  });
}

function showNames(ids) {
  const columns = models.map((model, i) => {
    const random = makeRandom(state.seed);
    const { temperature, top_k: topK } = state;
    const items = Array.from({ length: NAMES }, () => {
      const drawn = drawName(run, model, ids, { temperature, topK, random, longest: LONGEST_NAME });
      const name = drawn.ids.map((id) => run.tokens[id]).join("") + (drawn.ended ? "" : "…");
      if (!knownNames.has(name)) return make("li", {}, name);
      return make("li", { class: "known" }, name, " *", make("span", { class: "spoken" }, " in the training list"));
    });
    return make("div", {}, make("strong", { class: looks[i] }, model.name), make("ul", {}, ...items));
  });
  $("names-columns").replaceChildren(...columns);
  $("names-note").textContent = knownNames.size > 0 ? "* is in the training list." : "";
}

function showLoss(ids) {
  const losses = models.map((model) => measureName(model, ids));
  const largest = Math.max(...losses.flat());
  const cell = (value) => ({ value, text: value.toFixed(2), share: value / largest });
  const labels = [...ids, 0].map((id) => run.labels[id]);
  const rows = labels.map((label, at) => makeRow(label, losses.map((each) => cell(each[at]))));
  const mean = makeRow("mean", losses.map((each) => cell(each.reduce((a, b) => a + b) / each.length)));
  const empty = ids.length === 0;
  $("loss-title").textContent = empty ? "Loss of a name" : `Loss of ${ids.map((id) => run.tokens[id]).join("")}`;
  $("loss-table").replaceChildren(
    ...(empty ? [] : [makeHead(), make("tbody", {}, ...rows), make("tfoot", {}, mean)]),
  );
  $("loss-note").textContent = empty
    ? "Type a name, your own for example, to see how surprising each of its letters is."
    : "−log of the probability of each character, and of the end, after those before it, at temperature 1. Where the mean is below the dev loss, the name is easier than the average name.";
}

function show() {
  const { ids, unknown } = readText(run, state.prefix);
  const missing = [...new Set(unknown)];
  const left = missing.map((character) => `“${character}”`).join(", ");
  $("message").textContent = left
    ? `${left} ${missing.length > 1 ? "are" : "is"} left out: ${run.text} has only ${run.labels.slice(1, 60).join(" ")}` +
      (vocabulary > 60 ? " …" : "")
    : "";
  $("temperature-shown").textContent = state.temperature === 0 ? "0 (the likeliest only)" : state.temperature.toFixed(2);
  $("top_k-shown").textContent = state.top_k === vocabulary ? `all ${vocabulary}` : state.top_k;
  $("top_k").setAttribute("aria-valuetext", $("top_k-shown").textContent);
  const { context, hidden } = network.forward(ids);
  showNext(ids);
  showEmbedding(context);
  showHidden(hidden);
  showNames(ids);
  showLoss(ids);
}

let due = false;
function change(settings) {
  Object.assign(state, settings);
  writeAddress();
  if (!due) requestAnimationFrame(() => ((due = false), show()));
  due = true;
}

// ---- Beginning

$("top_k").max = vocabulary;
$("prefix").addEventListener("input", (event) => change({ prefix: event.target.value }));
$("temperature").addEventListener("input", (event) => change({ temperature: Number(event.target.value) }));
$("top_k").addEventListener("input", (event) => change({ top_k: Number(event.target.value) }));
$("sorted").addEventListener("change", (event) => change({ sorted: event.target.checked }));
$("again").addEventListener("click", () => change({ seed: state.seed + 1 }));
$("controls").addEventListener("submit", (event) => {
  event.preventDefault(); // Enter
  change({ seed: state.seed + 1 });
});
$("next-table").addEventListener("click", (event) => {
  const id = Number(event.target.closest("tr[data-id]")?.dataset.id ?? 0);
  if (id === 0 || id === run.unknown) return;
  $("prefix").value += run.tokens[id];
  change({ prefix: $("prefix").value });
});
addEventListener("hashchange", () => {
  readAddress();
  show();
});

const sizes = [`${count(run.blockSize, "character")} of context`, `${run.C.shape[1]}-dimensional embedding`];
const hidden = run.products.slice(0, -1).map(([W]) => W.shape[1].toLocaleString("en"));
sizes.push(`${hidden.join(" + ")} hidden units`);
$("facts").textContent =
  `${run.model}, trained on ${run.text}: ${sizes.join(", ")}; ${count(run.parameters, "parameter")} after ` +
  `${count(run.steps, "step")}.`;
$("sources").textContent =
  run.train === null
    ? `The network is computed in this page. ${run.text} is too long to be part of it, so there are no count-based models, and known names are not marked.`
    : `Everything is computed in this page: the network from its weights, the bigram (add-one smoothing) and the ${ORDER}-gram (modified Kneser-Ney) by counting the training names. Dev losses are means over held-out names, in nats per character.`;
readAddress();

// After the first paint, because counting takes a moment.
setTimeout(() => {
  const [train, dev] = [run.train, run.dev].map((text) => text !== null && readDocuments(run, text));
  if (train) models.push(countBigram(train, vocabulary), countNgram(train, vocabulary, ORDER));
  show();
  setTimeout(() => {
    for (const model of models) model.devLoss ??= measureDocuments(model, dev);
    show();
    document.querySelector("main").setAttribute("aria-busy", "false");
  });
});
