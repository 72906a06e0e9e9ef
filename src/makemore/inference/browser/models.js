// The mathematics of the page, without the page: the network, two count-based models, and drawing names from any of them.
//
// A token is its id; 0 is the boundary that begins and ends a name. A model is an object with
//   name      what a person calls it
//   sees      how many ids of the context it looks at
//   logits    ids of a name's beginning -> a new Float64Array, a number for each token: its log-probability, but for a constant
//   devLoss   nats per character; undefined until it has been measured
"use strict";

const BOUNDARY = 0;

// ---- Text and ids

// The text's ids, and the characters that have none. A capital counts as the small letter if only that one is known.
function readText(run, text) {
  const ids = [], unknown = [];
  for (const character of text) {
    let id = run.tokens.indexOf(character);
    if (id < 0) id = run.tokens.indexOf(character.toLowerCase());
    if (id < 0 && run.unknown !== null) id = run.unknown;
    if (id < 0) unknown.push(character);
    else ids.push(id);
  }
  return { ids, unknown };
}

// A text with a line feed after each document -> an array of ids for each.
function readDocuments(run, text) {
  const idOf = new Map(run.tokens.map((token, id) => [token, id]));
  const lines = text.split("\n").slice(0, -1);
  return lines.map((line) => Array.from(line, (character) => idOf.get(character) ?? run.unknown));
}

// ---- The network

// Numbers as the page holds them: float32 in base64, row by row.
function decodeTensor({ shape, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return { shape, values: new Float32Array(bytes.buffer) };
}

// x W + b, with x (in), W (in, out) and b (out).
function multiply(x, W, b) {
  const out = Float64Array.from(b.values);
  for (let i = 0; i < x.length; i++) {
    for (let j = 0; j < out.length; j++) out[j] += x[i] * W.values[i * out.length + j];
  }
  return out;
}

// The run's network: C[context] laid side by side, then products with tanh between them.
function makeNetwork(run) {
  const C = decodeTensor(run.C);
  const products = run.products.map((pair) => pair.map(decodeTensor));
  const size = C.shape[1];

  function forward(ids) {
    const context = [...Array(run.blockSize).fill(BOUNDARY), ...ids].slice(-run.blockSize);
    const input = context.flatMap((id) => Array.from(C.values.subarray(id * size, (id + 1) * size)));
    const hidden = []; // the activations of each layer
    let x = input;
    products.forEach(([W, b], layer) => {
      if (layer < products.length - 1) {
        x = multiply(x, W, b).map(Math.tanh);
        hidden.push(x);
      } else {
        x = multiply(run.direct ? [...x, ...input] : x, W, b);
      }
    });
    return { context, hidden, logits: x };
  }

  return { name: run.model, sees: run.blockSize, devLoss: run.devLoss, forward, logits: (ids) => forward(ids).logits };
}

// ---- Counts

// Lecture 1's bigram: how often each token follows another, and one more (add-one smoothing).
function countBigram(documents, vocabulary) {
  const counts = Array.from({ length: vocabulary }, () => new Float64Array(vocabulary).fill(1));
  for (const ids of documents) {
    let last = BOUNDARY;
    for (const id of [...ids, BOUNDARY]) {
      counts[last][id]++;
      last = id;
    }
  }
  return { name: "bigram", sees: 1, logits: (ids) => counts[ids.at(-1) ?? BOUNDARY].map(Math.log) };
}

// Interpolated Kneser-Ney with three discounts for each length of context (Chen and Goodman 1998), as in
// src/makemore/models/ngram/counts.py: p(w | h) = (c(h, w) - D) / c(h) + b(h) p(w | h without its oldest token).
// A context is a string with a character for each id, so that it can be the key of a Map.
function countNgram(documents, vocabulary, order) {
  const levels = Array.from({ length: order }, () => new Map()); // by length of context: context + token -> count

  function add(pair, count) {
    const level = levels[pair.length - 1];
    level.set(pair, (level.get(pair) ?? 0) + count);
  }

  for (const ids of documents) {
    const text = String.fromCharCode(BOUNDARY, ...ids, BOUNDARY);
    for (let at = 1; at < text.length; at++) add(text.slice(Math.max(0, at - order + 1), at + 1), 1);
  }
  // Shorter contexts count how many different tokens stand before them, except where a name begins.
  for (let length = order - 1; length > 0; length--) {
    for (const pair of levels[length].keys()) add(pair.slice(1), 1);
  }
  // By context: the tokens that followed, c(h, w) - D of each, and the sums of c and of D.
  const nodes = new Map();
  for (const level of levels) {
    const D = estimateDiscounts(level);
    for (const [pair, count] of level) {
      const context = pair.slice(0, -1);
      if (!nodes.has(context)) nodes.set(context, { ids: [], rest: [], total: 0, taken: 0 });
      const node = nodes.get(context);
      const discount = D[Math.min(count, 3)];
      node.ids.push(pair.charCodeAt(pair.length - 1));
      node.rest.push(count - discount);
      node.total += count;
      node.taken += discount;
    }
  }

  function probabilities(ids) {
    // At least as many ids as a context holds, so that after a long beginning no context reaches the boundary in front.
    const text = String.fromCharCode(BOUNDARY, ...ids.slice(-order));
    const p = new Float64Array(vocabulary).fill(1 / vocabulary);
    for (let length = 0; length < order && length <= text.length; length++) {
      const node = nodes.get(text.slice(text.length - length));
      if (!node) break; // nor has any longer context been seen
      for (let id = 0; id < vocabulary; id++) p[id] *= node.taken / node.total;
      node.ids.forEach((id, i) => (p[id] += node.rest[i] / node.total));
    }
    return p;
  }

  return { name: `${order}-gram`, sees: order - 1, logits: (ids) => probabilities(ids).map(Math.log) };
}

// What is subtracted from counts of 0, 1, 2, and 3 or more, from how many counts are 1, 2, 3 and 4.
function estimateDiscounts(level) {
  const n = [0, 0, 0, 0, 0];
  for (const count of level.values()) if (count < 5) n[count]++;
  const D1 = n[1] && n[2] ? n[1] / (n[1] + 2 * n[2]) : 0.75;
  const D2 = n[2] && n[3] ? Math.max(D1, 2 - (3 * D1 * n[3]) / n[2]) : D1;
  const D3 = n[3] && n[4] ? Math.max(D2, 3 - (4 * D1 * n[4]) / n[3]) : D2;
  return [0, D1, D2, D3];
}

// ---- What is done with any model

// Probabilities from logits divided by the temperature, among the topK likeliest tokens. A temperature of 0 stands for a
// tiny one, at which the likeliest token is all but certain.
function soften(logits, temperature = 1, topK = logits.length) {
  const least = Float64Array.from(logits).sort().at(-topK);
  const largest = logits.reduce((a, b) => Math.max(a, b));
  const p = Float64Array.from(logits, (z) => (z < least ? 0 : Math.exp((z - largest) / Math.max(temperature, 1e-6))));
  const total = p.reduce((a, b) => a + b);
  return p.map((each) => each / total);
}

// What is added to minus the logits to get the losses: their log-sum-exp.
function normalizer(logits) {
  const largest = logits.reduce((a, b) => Math.max(a, b));
  return largest + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - largest), 0));
}

// The loss of each token of a name and of its end, in nats.
function measureName(model, ids) {
  return [...ids, BOUNDARY].map((id, at) => {
    const logits = model.logits(ids.slice(0, at));
    return normalizer(logits) - logits[id];
  });
}

// The mean loss over all tokens of some names. What follows equal contexts is computed once.
function measureDocuments(model, documents) {
  const known = new Map(); // context -> logits and their normalizer
  let sum = 0, tokens = 0;
  for (const ids of documents) {
    for (let at = 0; at <= ids.length; at++) {
      const before = ids.slice(Math.max(0, at - model.sees), at);
      const key = String.fromCharCode(...(at < model.sees ? [BOUNDARY] : []), ...before);
      if (!known.has(key)) {
        const logits = model.logits(ids.slice(0, at));
        known.set(key, { logits, total: normalizer(logits) });
      }
      const { logits, total } = known.get(key);
      sum += total - logits[ids[at] ?? BOUNDARY];
      tokens++;
    }
  }
  return sum / tokens;
}

// Numbers from 0 to 1 that depend on the seed alone: xorshift (Marsaglia 2003).
function makeRandom(seed) {
  let x = (seed * 2654435761) >>> 0 || 1;
  const next = () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
  for (let i = 0; i < 20; i++) next(); // after which seeds that are close to each other give different numbers
  return next;
}

// Continues a beginning until the boundary, or up to `longest` ids. No name is empty, and `<unk>` is no letter of one.
function drawName(run, model, beginning, { temperature, topK, random, longest }) {
  const ids = [...beginning];
  while (ids.length < longest) {
    const logits = model.logits(ids);
    if (ids.length === 0) logits[BOUNDARY] = -Infinity;
    if (run.unknown !== null) logits[run.unknown] = -Infinity;
    const p = soften(logits, temperature, topK);
    let point = random();
    let id = p.findIndex((each) => (point -= each) < 0);
    if (id < 0) id = p.indexOf(Math.max(...p)); // the sum of p was rounded to less than the point
    if (id === BOUNDARY) return { ids, ended: true };
    ids.push(id);
  }
  return { ids, ended: false };
}

// For tests under Node.js; in the page these are globals.
if (typeof module !== "undefined") {
  module.exports = {
    readText, readDocuments, makeNetwork, countBigram, countNgram, soften, measureName, measureDocuments, makeRandom, drawName,
  };
}
