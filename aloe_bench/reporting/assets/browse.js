"use strict";
const $ = (id) => document.getElementById(id);
const PAGE_ROWS = 50;
const PRINT_ROWS = 200;
// Rows that are asked for at once where a server has them.
const LOAD_ROWS = 250;
const state = { set: 0, rows: [], at: 0, first: 0, hay: [], filters: 0, sought: new Set() };
const served = document.body.dataset.served === "true";
let data, album, parts = [];

// Whatever a model or a data set wrote is shown as text; what could steer the text is shown by its number.
const STEERING = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const shown = (text) => String(text).replace(STEERING, (c) => "⟦U+" + c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟧");

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children) element.append(child instanceof Node ? child : shown(child));
  return element;
}

async function unpacked(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// Returns hash -> how to compose a picture: a line of JSON says so, a line of base64 for each image file follows.
function opened(text) {
  const end = text.indexOf("\n");
  const entries = JSON.parse(end < 0 ? text : text.slice(0, end));
  const starts = [];
  for (let at = end; at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  const source = (i) => "data:image/webp;base64," + text.slice(starts[i], starts[i + 1] ? starts[i + 1] - 1 : text.length).trim();
  for (const entry of Object.values(entries)) entry.source = source;
  return entries;
}

const current = () => data.sets[state.set];

// A served page has from the start what rows are filtered and listed by; the rest of a row comes when it is wanted.
async function asked(address, as) {
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
    return await answer[as || "json"]();
  } catch (error) {
    $("count").textContent = `The server does not answer (${error.message}). Start aloe-bench view again.`;
    throw error;
  }
}

const lacks = (i) => i >= 0 && (current().rows.prompt || [])[i] === undefined;

async function loaded(places) {
  const set = state.set, lacking = [...new Set(places)].filter(lacks);
  if (!served) {
    const firsts = new Set(lacking.map((i) => parts.findLast((part) => part.set === set && part.first <= i)));
    for (const part of firsts) await unpackedPart(part);
    return;
  }
  for (let from = 0; from < lacking.length; from += LOAD_ROWS) {
    const part = lacking.slice(from, from + LOAD_ROWS);
    keep(set, part, await asked(`rows/${set}?at=${part.join(",")}`));
  }
}

function keep(set, places, found) {
  const { rows, runs } = data.sets[set];
  const into = (kept, columns) => {
    for (const [name, column] of Object.entries(columns)) {
      kept[name] = kept[name] || [];
      places.forEach((i, at) => { kept[name][i] = column[at]; });
    }
  };
  found.runs.forEach((columns, at) => into(runs[at], columns));
  into(rows, found.rows);
}

// A page from disk holds its rows in parts, each unpacked when it is wanted, or when there is nothing else to do.
function unpackedPart(part) {
  part.done = part.done || unpacked(part.text).then((found) => {
    keep(part.set, found.rows.prompt.map((_, at) => part.first + at), found);
    part.text = "";
  });
  return part.done;
}

const idle = () => new Promise((done) => (window.requestIdleCallback || setTimeout)(done));

async function unpackRest() {
  for (const part of parts) { await idle(); await unpackedPart(part); }
}

// Pictures follow their row; the first has to wait until they were found.
async function pictured(i) {
  const { rows } = current(), set = state.set;
  const wanted = [i, rows.base[i]].filter((j) => j >= 0).flatMap((j) => rows.pictures[j]);
  if (!served || wanted.every((hash) => album[hash] || state.sought.has(hash))) return false;
  Object.assign(album, opened(await asked(`pictures/${set}/${i}`, "text")));
  wanted.forEach((hash) => state.sought.add(hash));
  return true;
}

function choices(select, values, any) {
  const before = select.value;
  select.replaceChildren(...(any ? [make("option", { value: "" }, any)] : []), ...values.map((v) => make("option", { value: v }, v || "none")));
  select.value = values.includes(before) ? before : any ? "" : values[0];
  select.closest("label").hidden = values.length < 2;
}

const distinct = (values) => [...new Set(values)].filter((v) => v !== "");

function openSet(index) {
  state.set = index;
  state.hay = [];
  const { rows, runs, attacked } = current();
  choices($("dataset"), distinct(rows.dataset), "all");
  choices($("kind"), distinct(rows.kind), "all");
  choices($("attack"), distinct(rows.attack).concat(attacked ? ["no cue"] : []), "all");
  choices($("variant"), distinct(rows.variant), "all");
  $("outcomes").replaceChildren(...runs.map((run, i) => {
    const select = make("select", { id: "outcome" + i, onchange: filter });
    const label = make("label", {}, runs.length > 1 ? "Outcome: " + run.label : "Outcome", " ", select);
    const used = Object.keys(data.changes).filter((name) => run.change.includes(name));
    choicesIn(select, used);
    return label;
  }));
}

function choicesIn(select, values) {
  select.append(make("option", { value: "" }, "all"), ...values.map((v) => make("option", { value: v, title: data.changes[v] }, v)));
}

function hay(i) {
  if (state.hay[i] === undefined) {
    const { rows, runs } = current();
    state.hay[i] = [rows.id[i], rows.cluster[i], rows.prompt[i], ...runs.map((run) => run.text[i] || "")].join("\n").toLowerCase();
  }
  return state.hay[i];
}

async function filter() {
  const { rows, runs } = current(), turn = ++state.filters;
  const wanted = Object.fromEntries(["dataset", "kind", "attack", "variant"].map((name) => [name, $(name).value]));
  if (wanted.attack === "no cue") wanted.attack = null;
  const outcomes = runs.map((_, i) => $("outcome" + i).value);
  const words = $("search").value.toLowerCase().trim();
  if (!served && words) await loaded(rows.id.keys());
  const having = served && words ? new Set(await asked(`search/${state.set}?${new URLSearchParams({ words })}`)) : null;
  if (turn !== state.filters) return;
  const found = [];
  for (let i = 0; i < rows.id.length; i++) {
    if (wanted.dataset && rows.dataset[i] !== wanted.dataset) continue;
    if (wanted.kind && rows.kind[i] !== wanted.kind) continue;
    if (wanted.attack === null ? rows.attack[i] !== "" : wanted.attack && rows.attack[i] !== wanted.attack) continue;
    if (wanted.variant && rows.variant[i] !== wanted.variant) continue;
    if (outcomes.some((name, run) => name && runs[run].change[i] !== name)) continue;
    if (having ? !having.has(i) : words && !hay(i).includes(words)) continue;
    found.push(i);
  }
  state.rows = found;
  state.first = 0;
  choose(0, true);
}

function list() {
  const { rows, runs } = current();
  const last = Math.min(state.first + PAGE_ROWS, state.rows.length);
  $("list").replaceChildren(...state.rows.slice(state.first, last).map((i, at) => {
    const cue = rows.attack[i] ? [rows.attack[i], rows.variant[i]].filter(Boolean).join(", ") : "no cue";
    const button = make("button", { type: "button", "aria-current": state.first + at === state.at ? "true" : null, onclick: () => choose(state.first + at) },
      make("span", { dir: "auto" }, rows.head[i]), make("small", {}, cue + " · " + rows.id[rows.base[i] >= 0 ? rows.base[i] : i].split("/").pop().slice(-24)));
    runs.forEach((run, nth) => button.append(badge(run.change[i], runs.length > 1 ? `${nth + 1}: ` : "", run.label)));
    return make("li", {}, button);
  }));
  $("count").textContent = `${state.rows.length} of ${rows.id.length} rows`;
  $("page").textContent = state.rows.length ? `${state.first + 1} to ${last}` : "";
  $("back").disabled = state.first === 0;
  $("on").disabled = last >= state.rows.length;
}

function badge(name, nth = "", label = "") {
  const element = make("span", { class: "badge", title: label ? `${label}: ${data.changes[name]}` : data.changes[name] }, nth + name);
  element.style.setProperty("--dot", `var(--change-${name.replaceAll(" ", "-")})`);
  return element;
}

async function choose(at, quiet) {
  state.at = Math.max(0, Math.min(at, state.rows.length - 1));
  if (state.at < state.first || state.at >= state.first + PAGE_ROWS) state.first = state.at - (state.at % PAGE_ROWS);
  list();
  if (!state.rows.length) { $("item").replaceChildren(make("p", {}, "No row passes these filters.")); return; }
  const i = state.rows[state.at], set = state.set;
  const chosen = $("list").querySelector('[aria-current="true"]');
  if (chosen) intoView(chosen);
  if (!quiet) history.replaceState(null, "", link(i));
  const needed = [i, current().rows.base[i]], stays = () => state.rows[state.at] === i && state.set === set;
  if (needed.some(lacks)) await loaded(needed);
  if (!stays()) return;
  show(i, $("item"));
  if (served && await pictured(i) && stays()) show(i, $("item"));
}

// Scrolls the list alone; the page stays where it is.
function intoView(button) {
  const place = $("list"), top = button.offsetTop - place.offsetTop;
  if (top < place.scrollTop) place.scrollTop = top;
  else if (top + button.offsetHeight > place.scrollTop + place.clientHeight) place.scrollTop = top + button.offsetHeight - place.clientHeight;
}

function link(i) {
  const { rows } = current();
  const parts = { item: rows.base[i] >= 0 ? rows.id[rows.base[i]] : rows.id[i] };
  if (rows.attack[i]) parts.attack = rows.attack[i];
  if (rows.variant[i]) parts.variant = rows.variant[i];
  if (data.sets.length > 1) parts.set = String(state.set);
  return "#" + new URLSearchParams(parts).toString();
}

function follow() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (!wanted.has("item")) return false;
  const set = Number(wanted.get("set") || 0);
  if (data.sets[set] && set !== state.set) { $("set").value = String(set); openSet(set); }
  clear(false);
  const { rows } = current();
  const at = state.rows.findIndex((i) => (rows.base[i] >= 0 ? rows.id[rows.base[i]] : rows.id[i]) === wanted.get("item")
    && (!wanted.has("attack") ? rows.attack[i] === "" : rows.attack[i] === wanted.get("attack"))
    && (!wanted.has("variant") || rows.variant[i] === wanted.get("variant")));
  if (at < 0) { $("count").textContent = "The address names a row that is not in this file."; return false; }
  choose(at, true);
  $("browser").scrollIntoView();
  // Keys go on from the row that the address names, not into a box that had the focus.
  $("item").focus({ preventScroll: true });
  return true;
}

function clear(apply = true) {
  for (const select of document.querySelectorAll("#filters select:not(#set)")) select.value = "";
  $("search").value = "";
  filter();
  if (apply) history.replaceState(null, "", "#browser");
}
