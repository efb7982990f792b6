// Sorting, and leaving out models and metrics. Cells keep their order in the document's source.
const shownModels = { hidden: new Set(), listeners: [] };
tables: {
  /** A cell as a number where it starts with one ("1,234", "+1.2", "2.0e+13"), else as text. */
  const valueOf = (cell) => {
    const text = (cell?.firstChild?.textContent ?? "").trim();
    const number = parseFloat(text.replace(/,/g, "").replace(/^[±✓✗≈#\s]+/, ""));
    return Number.isNaN(number) ? (text === "–" ? null : text) : number;
  };
  const compare = (a, b, down) => {
    if (a === null || b === null) return (a === null) - (b === null);  // unknown comes last
    const order = typeof a === "number" && typeof b === "number"
      ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return down ? -order : order;
  };
  const sorted = (items, direction) => direction
    ? [...items].sort((a, b) => compare(a.value, b.value, direction === "descending")) : items;
  const next = { "": "descending", descending: "ascending", ascending: "" };

  const mark = (headers, chosen, direction) => {
    for (const header of headers) header.removeAttribute("aria-sort");
    if (chosen && direction) chosen.setAttribute("aria-sort", direction);
  };

  /** Make headers sort a table; `order(header, direction)` moves the cells. */
  const sortable = (table, headers, addButton, order) => {
    const name = `sort.${table.dataset.name}`;
    const labels = new Map(headers.map((header, i) => [`${i}`, header]));
    headers.forEach((header, i) => addButton(header).addEventListener("click", () => {
      const direction = next[header.getAttribute("aria-sort") ?? ""];
      state.set(name, direction && `${i}.${direction}`);
      apply();
    }));
    const apply = () => {
      const [at, direction] = state.get(name).split(".");
      const header = labels.get(at);
      const valid = header && Object.hasOwn(next, direction ?? "") ? direction : "";
      mark(headers, header, valid);
      order(header, valid);
    };
    state.follow(apply);
  };

  for (const table of document.querySelectorAll("table[data-sort=rows]")) {
    const body = table.tBodies[0], rows = [...body.rows];
    const headers = [...table.tHead.rows[0].cells];
    const addButton = (header) => {
      const button = make("button", { type: "button", class: "whole" });
      button.append(...header.childNodes);
      header.append(button);
      return button;
    };
    sortable(table, headers, addButton, (header, direction) => {
      const at = headers.indexOf(header);
      const items = rows.map((row) => ({ row, value: at < 0 ? null : valueOf(row.cells[at]) }));
      body.append(...sorted(items, direction).map((item) => item.row));
    });
  }

  for (const table of document.querySelectorAll("table[data-sort=columns]")) {
    const rows = [...table.rows].map((row) => ({ row, cells: [...row.cells] }));
    const headers = [...table.tBodies[0].rows].filter((row) => row.dataset.metric)
      .map((row) => row.cells[0]);
    const addButton = (header) => {
      const what = header.querySelector(".term").textContent;
      const button = make("button",
        { type: "button", class: "sort", "aria-label": `Sort models by ${what}` }, "⇄");
      header.append(" ", button);
      return button;
    };
    sortable(table, headers, addButton, (header, direction) => {
      const by = rows.find(({ row }) => header && row === header.parentElement);
      const items = rows[0].cells.slice(1).map((_, i) =>
        ({ at: i + 1, value: by ? valueOf(by.cells[i + 1]) : null }));
      const order = sorted(items, direction).map((item) => item.at);
      for (const { row, cells } of rows) row.append(...order.map((at) => cells[at]));
    });
  }

  // Choosing models (in all tables, charts and samples) and metrics (of the results).
  const choose = document.getElementById("choose");
  if (!choose) break tables;  // a page without choices, such as a leaderboard's
  const results = document.querySelector("table[data-name=results]");
  const models = [...results.tHead.rows[0].cells].slice(1).map((cell) => cell.dataset.model);
  const metrics = [...results.tBodies[0].rows].filter((row) => row.dataset.metric)
    .map((row) => [row.dataset.metric, row.querySelector(".term").textContent]);
  const cellsOf = (table, header) => {
    const at = [...header.parentElement.cells].indexOf(header);
    return [...table.rows].map((row) => row.cells[at]);
  };

  const group = (legend, name, options) => {
    const boxes = options.map(([value, label]) => make("input", { type: "checkbox", ".value": value, ".checked": true }));
    const changed = () => {
      const off = boxes.filter((box) => !box.checked).map((box) => JSON.stringify(box.value));
      state.set(name, off.join(","));
      apply();
    };
    const all = make("button", { type: "button" }, "All");
    all.addEventListener("click", () => { boxes.forEach((box) => { box.checked = true; }); changed(); });
    const none = make("button", { type: "button" }, "None");
    none.addEventListener("click", () => { boxes.forEach((box) => { box.checked = false; }); changed(); });
    boxes.forEach((box) => box.addEventListener("change", changed));
    choose.append(make("fieldset", {}, make("legend", {}, legend),
      ...boxes.map((box, i) => make("label", {}, box, options[i][1])), all, none));
    return boxes;
  };
  const modelBoxes = group("Models", "without", models.map((model) => [model, model]));
  const metricBoxes = group("Metrics", "unlisted", metrics);

  const off = (name) => {
    try {
      return new Set(JSON.parse(`[${state.get(name)}]`));
    } catch { return new Set(); }  // an address that somebody mistyped
  };
  const apply = () => {
    const noModels = off("without"), noMetrics = off("unlisted");
    modelBoxes.forEach((box) => { box.checked = !noModels.has(box.value); });
    metricBoxes.forEach((box) => { box.checked = !noMetrics.has(box.value); });
    for (const element of document.querySelectorAll("[data-model]")) {
      const hide = noModels.has(element.dataset.model);
      if (element.tagName === "TR") element.hidden = hide;
      else for (const cell of cellsOf(element.closest("table"), element)) if (cell) cell.hidden = hide;
    }
    for (const row of results.tBodies[0].rows) {
      if (row.dataset.metric) row.hidden = noMetrics.has(row.dataset.metric);
    }
    shownModels.hidden = noModels;
    shownModels.listeners.forEach((listener) => listener());
  };
  choose.hidden = false;
  state.follow(apply);
}
