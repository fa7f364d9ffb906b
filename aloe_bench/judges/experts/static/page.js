// One rater's page. The server knows what comes next; every request names the item it is about,
// so a request that is sent twice, or whose reply got lost, changes nothing the second time.
"use strict";

(() => {
  const GUARD_MS = 400; // a new item takes no rating before this: the second half of a double click
  const TIMEOUT_MS = 20000;
  const byId = (id) => document.getElementById(id);
  const noun = document.body.dataset.noun; // what one item is called
  const labels = [...document.querySelectorAll(".label")];
  const comment = byId("comment");
  const dialog = byId("enlarged");
  let state = null;
  let busy = false;
  let shownAt = 0;
  let again = null;

  async function ask(path, body) {
    const options = { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" };
    if (body) {
      Object.assign(options, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
    }
    let reply;
    try {
      reply = await fetch(path, options);
    } catch {
      throw new Error("The server cannot be reached.");
    }
    const value = await reply.json().catch(() => ({}));
    if (!reply.ok) throw new Error(value.error || `The server answered ${reply.status}.`);
    return value;
  }

  // Runs one request at a time; on failure the page stays as it is and offers to send the same again.
  async function exchange(what, path, body, said) {
    if (busy) return;
    setBusy(true);
    try {
      const next = await ask(path, body);
      byId("problem").hidden = true;
      if (body && body.label) forgetDraft(body.item);
      state = next;
      show();
      byId("status").textContent = said || "";
    } catch (error) {
      again = () => exchange(what, path, body, said);
      byId("problem-text").textContent = `${what} ${error.message}`;
      byId("problem").hidden = false;
    } finally {
      setBusy(false);
    }
  }

  function setBusy(now) {
    busy = now;
    document.body.classList.toggle("busy", now);
    document.body.setAttribute("aria-busy", String(now));
    labels.forEach((button) => button.setAttribute("aria-disabled", String(now)));
    if (state) setMoves();
  }

  function setMoves() {
    byId("back").disabled = busy || state.position <= 1;
    byId("forward").disabled = busy || state.position > state.total;
    byId("undo").disabled = busy || state.last_event === null;
  }

  function show() {
    const item = state.item;
    byId("bar").max = state.total || 1;
    byId("bar").value = state.done;
    byId("count").textContent = `${state.done} of ${state.total} rated`;
    byId("work").hidden = !item;
    byId("finished").hidden = Boolean(item);
    byId("actions").hidden = false;
    document.querySelector(".labels").hidden = !item;
    if (item) showItem(item);
    else showEnd();
    setMoves();
    shownAt = performance.now();
    window.scrollTo(0, 0);
    byId(item ? "question" : "finished-title").focus({ preventScroll: true });
  }

  function showItem(item) {
    const required = state.required < state.total ? `, ${state.done_required} of the ${state.required} required ones rated` : "";
    byId("place").textContent = `${noun[0].toUpperCase()}${noun.slice(1)} ${state.position} of ${state.total}${state.optional ? " (optional)" : ""}${required}`;
    for (const part of ["question", "reference", "answer"]) byId(part).textContent = item[part];
    labels.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.label === state.label)));
    comment.value = draft(item.id) ?? state.comment;
    byId("images").replaceChildren(...item.images.map((image, i) => picture(image, i + 1, item.images.length)));
  }

  function showEnd() {
    const open = state.total - state.done;
    byId("finished-title").textContent = open ? "The end of the list" : "All done";
    byId("finished-text").textContent = open
      ? `${open} of your ${state.total} ${noun}s are not rated yet. Go back to them.`
      : `You rated all ${state.total} ${noun}s. Thank you. You can close this page, or go back and change a rating.`;
  }

  function picture(image, number, count) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "image";
    const name = count > 1 ? `Image ${number} of ${count}` : "The image of the question";
    button.setAttribute("aria-label", `${name}; enlarge`);
    const shown = new Image(image.width, image.height);
    shown.alt = name;
    shown.src = image.page;
    shown.onerror = () => {
      button.classList.add("broken");
      button.replaceChildren("The image could not be loaded. Try again.");
      button.setAttribute("aria-label", "The image could not be loaded; try again");
      button.onclick = () => button.replaceWith(picture(image, number, count));
    };
    const hint = document.createElement("span");
    hint.textContent = "Enlarge";
    button.append(shown, hint);
    button.onclick = () => enlarge(image, name);
    return button;
  }

  function enlarge(image, name) {
    byId("large").src = image.full;
    byId("large").alt = name;
    setActual(false);
    dialog.showModal();
    byId("close").focus();
  }

  function setActual(now) {
    byId("stage").classList.toggle("actual", now);
    byId("actual").setAttribute("aria-pressed", String(now));
  }

  function rate(label) {
    if (busy || !state || !state.item || performance.now() - shownAt < GUARD_MS) return;
    const body = { item: state.item.id, label, comment: comment.value };
    exchange("Your rating may not be saved.", "api/rate", body, `Saved: ${label}.`);
  }

  function undo() {
    if (busy || !state || state.last_event === null || performance.now() - shownAt < GUARD_MS) return;
    exchange("Nothing was taken back.", "api/undo", { event: state.last_event }, "Your last rating was taken back.");
  }

  function move(by) {
    if (busy || !state) return;
    const position = state.position + by;
    if (position < 1 || position > state.total + 1) return;
    if (position === state.total + 1) {
      state = { ...state, position, item: null };
      show();
      return;
    }
    exchange(`The ${noun} could not be loaded.`, `api/state?position=${position}`);
  }

  // A comment that is not saved yet survives a reload of this tab.
  function draft(id) {
    try { return sessionStorage.getItem(`draft:${id}`); } catch { return null; }
  }
  function forgetDraft(id) {
    try { sessionStorage.removeItem(`draft:${id}`); } catch { /* storage is switched off */ }
  }
  comment.addEventListener("input", () => {
    try { sessionStorage.setItem(`draft:${state.item.id}`, comment.value); } catch { /* storage is switched off */ }
  });

  labels.forEach((button) => button.addEventListener("click", (event) => {
    if (event.detail < 2) rate(button.dataset.label);
  }));
  byId("back").onclick = () => move(-1);
  byId("forward").onclick = () => move(1);
  byId("undo").onclick = undo;
  byId("retry").onclick = () => again && again();
  byId("actual").onclick = () => setActual(!byId("stage").classList.contains("actual"));
  byId("close").onclick = () => dialog.close();
  byId("stage").onclick = (event) => { if (event.target === byId("stage")) dialog.close(); };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || dialog.open) return;
    if (event.target === comment) {
      if (event.key === "Escape") byId("question").focus({ preventScroll: true });
      return;
    }
    const action = {
      arrowleft: () => move(-1),
      arrowright: () => move(1),
      u: undo,
      c: () => comment.focus(),
      e: () => document.querySelector(".image:not(.broken)")?.click(),
    }[event.key.toLowerCase()];
    const button = labels.find((one) => one.dataset.key === event.key);
    if (!action && !button) return;
    event.preventDefault();
    if (event.repeat) return; // a key held down is one rating
    if (button) rate(button.dataset.label);
    else action();
  });

  exchange("The page could not be loaded.", "api/state");
})();
