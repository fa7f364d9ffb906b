// One row in full: pictures, prompt, options, and each run's reply beside the others.
function show(i, place) {
  const { rows, runs } = current();
  const base = rows.base[i];
  const item = base >= 0 ? base : i;
  const siblings = rows.id.map((_, j) => j).filter((j) => j === item || rows.base[j] === item);
  const name = (j) => (rows.attack[j] ? [rows.attack[j], rows.variant[j]].filter(Boolean).join(", ") : "no cue");
  const parts = [make("p", { class: "id" }, rows.id[i]),
    make("p", {}, [rows.dataset[i], rows.kind[i], name(i)].filter(Boolean).join(" · "))];
  if (siblings.length > 1) {
    parts.push(make("div", { class: "chips", role: "group", "aria-label": "The same item, asked otherwise" }, ...siblings.map((j) =>
      make("button", { type: "button", "aria-current": j === i ? "true" : null, onclick: () => jump(j) }, name(j)))));
  }
  parts.push(pictures(i, base), make("h3", {}, "Prompt"), prompt(i, base), options(i), make("h3", {}, runs.length > 1 ? "Replies" : "Reply"),
    make("div", { class: "replies" }, ...runs.map((run, nth) => reply(run, i, base, runs.length > 1 ? `${nth + 1}: ` : ""))));
  place.replaceChildren(...parts);
}

function jump(row) {
  const at = state.rows.indexOf(row);
  if (at >= 0) { choose(at); return; }
  clear(false);
  choose(state.rows.indexOf(row));
}

function pictures(i, base) {
  const { rows } = current();
  const place = make("div", { class: "pair" });
  const own = rows.pictures[i], clean = base >= 0 ? rows.pictures[base] : [];
  const same = base >= 0 && own.join() === clean.join();
  if (base >= 0 && !same) place.append(...clean.map((hash) => picture(hash, "Without the cue")));
  place.append(...own.map((hash) => picture(hash, base < 0 ? "Picture" : same ? "The same picture; the cue is in the words" : "With the cue")));
  return place;
}

function picture(hash, title) {
  const entry = album[hash];
  const absent = !served ? "not in this file" : state.sought.has(hash) ? "not found" : "looked for …";
  if (!entry) return make("figure", {}, make("figcaption", {}, `${title}: ${absent} (SHA-256 ${hash.slice(0, 12)})`));
  const [width, height] = entry.size;
  const frame = make("div", { class: "picture", role: "img", "aria-label": `${title}, ${width} by ${height} pixels` });
  frame.style.width = Math.max(width, Math.min(280, 4 * width)) + "px";
  frame.style.aspectRatio = `${width} / ${height}`;
  const lay = (blob, [x, y, w, h]) => {
    const image = make("img", { alt: "", src: entry.source(blob) });
    Object.assign(image.style, { left: 100 * x / width + "%", top: 100 * y / height + "%", width: 100 * w / width + "%", height: 100 * h / height + "%" });
    frame.append(image);
  };
  lay(entry.thumb, entry.at);
  const figure = make("figure", {}, make("figcaption", {}, `${title}, ${width} × ${height}`), frame);
  for (const [x, y, w, h, blob] of entry.pieces) {
    lay(blob, [x, y, w, h]);
    figure.append(make("div", { class: "cue", tabindex: "0", role: "region", "aria-label": "What was drawn, at native size" },
      make("img", { alt: `What was drawn at ${x}, ${y}: ${w} by ${h} pixels`, src: entry.source(blob), width: w, height: h })));
  }
  return figure;
}

// Words that the cue added are underlined, words that it took away are struck out.
function prompt(i, base) {
  const { rows } = current();
  const place = make("div", { class: "text", dir: "auto" });
  if (base < 0) { place.append(shown(rows.prompt[i])); return place; }
  for (const [kind, text] of difference(rows.prompt[base], rows.prompt[i])) place.append(kind ? make(kind, {}, text) : shown(text));
  return place;
}

function difference(before, after) {
  const split = (text) => text.match(/\s+|[^\s]+/g) || [];
  let [a, b] = [split(before), split(after)];
  const head = [], tail = [];
  while (a.length && b.length && a[0] === b[0]) { head.push(a.shift()); b.shift(); }
  while (a.length && b.length && a.at(-1) === b.at(-1)) { tail.unshift(a.pop()); b.pop(); }
  const middle = a.length * b.length > 250000 ? [["del", a.join("")], ["ins", b.join("")]] : aligned(a, b);
  return [["", head.join("")], ...middle, ["", tail.join("")]].filter(([, text]) => text);
}

function aligned(a, b) {
  const best = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--)
    best[i][j] = a[i] === b[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  const parts = [];
  const add = (kind, word) => { if (parts.length && parts.at(-1)[0] === kind) parts.at(-1)[1] += word; else parts.push([kind, word]); };
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) { add("", a[i++]); j++; }
    else if (j >= b.length || (i < a.length && best[i + 1][j] >= best[i][j + 1])) add("del", a[i++]);
    else add("ins", b[j++]);
  }
  return parts;
}

function options(i) {
  const { rows } = current();
  const target = rows.target[i], cue = rows.suggests[i];
  if (!rows.options[i].length) return make("p", { dir: "auto" }, "Expected: " + target);
  return make("ul", { class: "options" }, ...rows.options[i].map((text, at) => {
    const letter = String.fromCharCode(65 + at);
    const marks = [letter === target || text === target ? "✓ true" : "", letter === cue ? "← the cue argues for this" : ""].filter(Boolean);
    return make("li", { dir: "auto" }, `${letter}. ${text}`, ...(marks.length ? [" ", make("strong", { class: letter === target ? "good" : "bad" }, marks.join(" "))] : []));
  }));
}

function reply(run, i, base, nth) {
  const text = run.text[i];
  const failed = run.change[i] === "failed";
  const place = make("div", { class: "reply" }, make("h4", { dir: "auto" }, nth + run.label), badge(run.change[i]),
    make("span", {}, `read as ${run.parsed[i] ?? "nothing"} (${run.rule[i]})` + (run.value[i] === null ? "" : `, score ${run.value[i]}`)));
  if (run.reasoning[i]) place.append(make("details", {}, make("summary", {}, "Reasoning"), make("div", { class: "text", dir: "auto" }, run.reasoning[i])));
  const thought = failed || !text ? null : text.match(/^\s*(<think>[\s\S]*?<\/think>)([\s\S]*)$/);
  if (thought) place.append(make("details", {}, make("summary", {}, "Reasoning"), make("div", { class: "text", dir: "auto" }, thought[1])));
  place.append(make("div", { class: "text", dir: "auto" }, failed ? "No reply: " + (text || "unknown error") : thought ? thought[2].trim() : text));
  if (run.end[i]) place.append(make("p", { class: "id" }, "ended: " + run.end[i]));
  for (const [judge, grade, said] of run.verdicts[i] || [])
    place.append(make("details", {}, make("summary", {}, `${judge}: ${grade ?? "no grade"}`), make("div", { class: "text", dir: "auto" }, said)));
  if (base >= 0) place.append(make("p", {}, `Without the cue: ${run.parsed[base] ?? "nothing read"} `, badge(run.change[base])));
  return place;
}

async function exported() {
  const { rows, runs, title } = current(), chosen = state.rows;
  if (chosen.some(lacks)) await loaded(chosen);
  return chosen.map((i) => {
    const row = { table: title, id: rows.id[i], attack: rows.attack[i], variant: rows.variant[i], dataset: rows.dataset[i], task: rows.kind[i],
      prompt: rows.prompt[i], target: rows.target[i], suggests: rows.suggests[i], pictures: rows.pictures[i].join(" ") };
    runs.forEach((run, at) => {
      const key = runs.length > 1 ? `${at + 1}: ${run.label}: ` : "";
      Object.assign(row, { [key + "outcome"]: run.change[i], [key + "parsed"]: run.parsed[i], [key + "rule"]: run.rule[i], [key + "score"]: run.value[i], [key + "reply"]: run.text[i] });
    });
    return row;
  });
}

// A cell that a spreadsheet would take for a formula gets an apostrophe.
function csvCell(value) {
  const text = value === null || value === undefined ? "" : String(value).replaceAll("\u0000", "\ufffd");
  const safe = typeof value !== "number" && /^\s*[=+\-@＝＋－＠\t\r\n]/.test(text) ? "'" + text : text;
  return '"' + safe.replaceAll('"', '""') + '"';
}

function csvText(rows) {
  const heading = rows.length ? Object.keys(rows[0]) : [];
  return [heading, ...rows.map((row) => heading.map((key) => row[key]))].map((cells) => cells.map(csvCell).join(",")).join("\r\n") + "\r\n";
}

function save(text, name, kind) {
  const address = URL.createObjectURL(new Blob([text], { type: kind }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

function printed() {
  document.querySelectorAll("#printed").forEach((old) => old.remove());
  const first = state.rows.slice(0, PRINT_ROWS), there = first.filter((j) => !lacks(j));
  const left = there.length < first.length ? " The others were not loaded: use the page's own button to print." : "";
  const place = make("div", { id: "printed" }, make("p", {}, `${there.length} of the ${state.rows.length} rows chosen.${left}`));
  for (const i of there) {
    const row = make("div", { class: "printed" });
    show(i, row);
    place.append(row);
  }
  $("browser").append(place);
}

function theme(name) { document.documentElement.dataset.theme = name; }

function keys(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const move = { j: 1, k: -1, n: PAGE_ROWS, p: -PAGE_ROWS }[event.key];
  if (move) { event.preventDefault(); choose(state.at + move); }
  if (event.key === "/") { event.preventDefault(); $("search").focus(); }
}

async function start() {
  theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  $("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  album = opened($("pictures").textContent.trim());
  const [index, ...rest] = $("data").textContent.trim().split("\n");
  parts = rest.map((line) => line.split(" ")).map(([set, first, text]) => ({ set: Number(set), first: Number(first), text }));
  data = served ? await asked("index.json") : await unpacked(index);
  $("data").remove();
  $("set").append(...data.sets.map((set, i) => make("option", { value: i }, set.title)));
  $("set").closest("label").hidden = data.sets.length < 2;
  openSet(0);
  filter();
  follow();
  $("set").addEventListener("change", () => { openSet(Number($("set").value)); filter(); });
  for (const name of ["dataset", "kind", "attack", "variant"]) $(name).addEventListener("change", filter);
  let waiting;
  $("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("clear").addEventListener("click", () => clear());
  $("back").addEventListener("click", () => choose(state.first - PAGE_ROWS));
  $("on").addEventListener("click", () => choose(state.first + PAGE_ROWS));
  $("csv").addEventListener("click", () => exported().then((rows) => save(csvText(rows), "rows.csv", "text/csv")));
  $("jsonl").addEventListener("click", () => exported().then((rows) => save(rows.map((row) => JSON.stringify(row) + "\n").join(""), "rows.jsonl", "application/x-ndjson")));
  $("print").addEventListener("click", async () => {
    const chosen = state.rows.slice(0, PRINT_ROWS);
    await loaded([...chosen, ...chosen.map((i) => current().rows.base[i])]);
    for (const i of served ? chosen : []) await pictured(i);
    print();
  });
  addEventListener("beforeprint", printed);
  addEventListener("hashchange", follow);
  document.addEventListener("keydown", keys);
  if ($("sidecar")) $("sidecar").addEventListener("change", async () => {
    Object.assign(album, opened(await $("sidecar").files[0].text()));
    show(state.rows[state.at], $("item"));
  });
  document.body.setAttribute("data-ready", "true");
  await unpackRest();
}
// What can be read without the items is there before they are unpacked.
requestAnimationFrame(() => setTimeout(start));
