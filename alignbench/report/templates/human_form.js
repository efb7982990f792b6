"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const items = content.items;
  const $ = (id) => document.getElementById(id);
  const scales = [...document.querySelectorAll("fieldset.rating")];
  const KEY = `alignbench-human-${content.form}`;

  // What is kept: the name, the question on screen, answers by id: {choice, a: {}, b: {}}.
  let state = { annotator: "", at: 0, keys: true, answers: {} };
  let undo = [];
  let cursor = 0;
  let kept = true;
  let handedIn = true;

  function load() {
    try {
      const found = JSON.parse(localStorage.getItem(KEY));
      if (found && typeof found.answers === "object" && found.at in items) {
        state = { ...found, annotator: String(found.annotator) };
      }
    } catch {
      // Absent, forbidden or damaged: start empty; save() tells whether anything can be kept.
    }
  }

  function save() {
    try {
      localStorage.setItem(KEY, JSON.stringify(state));
      kept = localStorage.getItem(KEY) !== null;
    } catch {
      kept = false;
    }
    $("no-storage").hidden = kept;
  }

  function answerOf(item) {
    return state.answers[item.id] || { a: {}, b: {} };
  }

  function isDone(item) {
    const answer = answerOf(item);
    return Boolean(answer.choice) &&
      scales.every((scale) => answer[scale.dataset.side][scale.dataset.rubric]);
  }

  function ratingOf(answer, scale) {
    return answer[scale.dataset.side][scale.dataset.rubric];
  }

  function say(text) {
    $("status").textContent = text;
  }

  function show(focus) {
    const item = items[state.at];
    $("question").textContent = `Question ${state.at + 1} of ${items.length}`;
    for (const [box, text] of [["prompt", item.prompt], ["answer-a", item.a], ["answer-b", item.b]]) {
      $(box).textContent = text || "(empty)";
      $(box).scrollTop = 0;
    }
    const answer = answerOf(item);
    const open = scales.findIndex((scale) => !ratingOf(answer, scale));
    cursor = open < 0 ? 0 : open;
    refresh();
    if (focus) $("question").focus({ preventScroll: true });
    if (focus) $("question").scrollIntoView({ block: "start" });
  }

  function refresh() {
    const answer = answerOf(items[state.at]);
    for (const input of document.querySelectorAll("input[name=choice]")) {
      input.checked = input.value === answer.choice;
    }
    scales.forEach((scale, number) => {
      scale.classList.toggle("current", number === cursor);
      for (const input of scale.querySelectorAll("input")) {
        input.checked = Number(input.value) === ratingOf(answer, scale);
      }
    });
    for (const block of document.querySelectorAll("#rubric [data-rubric]")) {
      block.hidden = block.dataset.rubric !== scales[cursor].dataset.rubric;
    }
    const done = items.filter(isDone).length;
    $("progress").value = done;
    $("progress-text").textContent = `${done} of ${items.length} done`;
    $("previous").disabled = state.at === 0;
    $("next").disabled = state.at === items.length - 1;
    $("open").disabled = done === items.length;
    $("undo").disabled = undo.length === 0;
  }

  // Every entry goes through here, so that undo knows what was there before.
  function enter(change, text) {
    const item = items[state.at];
    const before = JSON.stringify(answerOf(item));
    const answer = JSON.parse(before);
    change(answer);
    undo.push({ at: state.at, before });
    state.answers[item.id] = answer;
    handedIn = false;
    save();
    refresh();
    say(isDone(item) ? `${text}. Question ${state.at + 1} is done.` : `${text}.`);
  }

  function choose(value) {
    const names = { a: "Answer A is better", b: "Answer B is better", tie: "A tie" };
    enter((answer) => { answer.choice = value; }, names[value]);
  }

  function rate(number, rating) {
    const { side, rubric } = scales[number].dataset;
    const name = `${side.toUpperCase()}: ${rubric} ${rating}`;
    enter((answer) => { answer[side][rubric] = rating; }, name);
  }

  function move(at) {
    if (at < 0 || at >= items.length) return;
    state.at = at;
    save();
    say("");
    show(true);
  }

  function toOpen() {
    const at = items.findIndex((item) => !isDone(item));
    if (at >= 0) move(at);
  }

  function takeBack() {
    const last = undo.pop();
    if (!last) return;
    state.answers[items[last.at].id] = JSON.parse(last.before);
    state.at = last.at;
    handedIn = false;
    save();
    show(false);
    say(`Undone, in question ${last.at + 1}.`);
  }

  function frame(number) {
    cursor = (number + scales.length) % scales.length;
    refresh();
    scales[cursor].scrollIntoView({ block: "nearest" });
  }

  // The text to hand in, or null where the name is missing.
  function handIn() {
    const annotator = state.annotator.trim();
    if (!annotator) {
      $("handed").textContent = "Please enter your name first, at the top.";
      $("annotator").focus();
      return null;
    }
    const answers = items
      .filter((item) => answerOf(item).choice)
      .map((item) => ({ id: item.id, ...answerOf(item) }));
    if (!answers.length) {
      $("handed").textContent = "There is no answer yet.";
      return null;
    }
    const open = items.length - items.filter(isDone).length;
    const given = `${answers.length} of ${items.length} questions are in it`;
    $("handed").textContent = open ? `${given}; ${open} are open or not fully rated.` : `${given}.`;
    return JSON.stringify({ schema: content.schema, form: content.form, annotator, answers }, null, 1);
  }

  function download() {
    const text = handIn();
    if (text === null) return;
    const name = state.annotator.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `answers-${content.form.slice(0, 8)}-${name || "annotator"}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    handedIn = true;
  }

  async function copy() {
    const text = handIn();
    if (text === null) return;
    try {
      await navigator.clipboard.writeText(text);
      $("handed").textContent += " Copied.";
      handedIn = true;
    } catch {
      $("text").value = text;
      $("text").hidden = $("text-label").hidden = false;
      $("text").select();
    }
  }

  function restart() {
    if (!confirm("Clear the name and all answers in this browser? Download them first.")) return;
    state = { annotator: "", at: 0, keys: state.keys, answers: {} };
    undo = [];
    handedIn = true;
    save();
    $("annotator").value = "";
    $("text").hidden = $("text-label").hidden = true;
    $("handed").textContent = "";
    show(true);
  }

  function toggle(id) {
    if ($(id)) $(id).open = !$(id).open;
  }

  const shortcuts = {
    a: () => choose("a"),
    b: () => choose("b"),
    t: () => choose("tie"),
    n: () => move(state.at + 1),
    p: () => move(state.at - 1),
    g: toOpen,
    u: takeBack,
    d: download,
    r: () => toggle("rubric"),
    j: () => scales.length && frame(cursor + 1),
    k: () => scales.length && frame(cursor - 1),
  };

  function pressed(event) {
    if (!state.keys || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.repeat || event.target.matches("input[type=text], textarea")) return;
    const key = event.key.toLowerCase();
    if (/^[0-9]$/.test(key) && scales.length) {
      rate(cursor, Number(key) || 10);
      if (cursor < scales.length - 1) frame(cursor + 1);
    } else if (Object.hasOwn(shortcuts, key)) {
      shortcuts[key]();
    } else {
      return;
    }
    event.preventDefault();
  }

  function listen() {
    document.addEventListener("keydown", pressed);
    for (const input of document.querySelectorAll("input[name=choice]")) {
      input.addEventListener("change", () => choose(input.value));
    }
    scales.forEach((scale, number) => scale.addEventListener("change", (event) => {
      cursor = number;
      rate(number, Number(event.target.value));
    }));
    const buttons = {
      previous: () => move(state.at - 1),
      next: () => move(state.at + 1),
      open: toOpen,
      undo: takeBack,
      download,
      copy,
      restart,
    };
    for (const [id, act] of Object.entries(buttons)) $(id).addEventListener("click", act);
    $("annotator").addEventListener("input", () => {
      state.annotator = $("annotator").value;
      save();
    });
    $("keys").addEventListener("change", () => {
      state.keys = $("keys").checked;
      save();
    });
    addEventListener("beforeunload", (event) => {
      if (!kept && !handedIn) event.preventDefault();
    });
  }

  load();
  save();
  $("annotator").value = state.annotator;
  $("keys").checked = state.keys;
  $("form").hidden = false;
  listen();
  show(false);
})();
