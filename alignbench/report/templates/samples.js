// The sample browser. Texts of models and prompts only ever become text nodes.
if (document.getElementById("sample-data")) {
  const PAGE = 20;
  const data = JSON.parse(document.getElementById("sample-data").textContent);
  const form = document.getElementById("sample-controls");
  const list = document.getElementById("sample-list");
  const more = document.getElementById("sample-more");
  const count = document.getElementById("sample-count");
  const reference = data.opponent === "sft" ? "sft" : null;
  const fields = ["q", "family", "method", "order", "apart"];
  let found = [], drawn = 0;

  const families = [...new Set(data.prompts.map((prompt) => prompt.family))];
  const readable = (name) => name.replaceAll("_", " ");
  for (const family of families) {
    form.elements.family.append(make("option", { ".value": family }, readable(family)));
  }
  for (const model of data.models) {
    form.elements.method.append(make("option", { ".value": model }, model));
  }
  for (const prompt of data.prompts) {
    prompt.text = [prompt.prompt, ...prompt.responses.map((answer) => answer.response)]
      .join("\n").toLowerCase();
  }

  const chosen = () => Object.fromEntries(fields.map((name) => [name, form.elements[name].value]));
  /** The answers that count: of the chosen method, else of all that are not hidden. */
  const counted = (prompt, method) => prompt.responses.filter(({ model }) =>
    method ? model === method : !shownModels.hidden.has(model));
  const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
  const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
  const golds = (answers) => answers.map((answer) => answer.scores.gold ?? NaN)
    .filter((gold) => !Number.isNaN(gold));
  const apartOf = (answers) => most(answers.map((answer) => answer.apart ?? -1));
  const lossOf = (answers) => most(answers.filter((answer) => answer.against === "lost")
    .map((answer) => answer.length ?? 0));
  const orders = {
    apart: apartOf,
    losses: lossOf,
    worst: (answers) => -least(golds(answers)),
    best: (answers) => most(golds(answers)),
  };

  const scoresOf = (answer) => {
    const parts = [...Object.entries(answer.scores), ...Object.entries(answer.ratings)]
      .map(([name, value]) => `${name} ${value}`);
    if (answer.length !== null) parts.push(`${answer.length} long`);
    const line = make("p", { class: "scores" }, parts.join(" · "));
    if (answer.against) {
      line.append(parts.length ? " · " : "", make("span", { class: answer.against },
        `${answer.against} against ${data.opponent}`));
    }
    return line;
  };
  const card = (answer) => make("div", { class: "card" }, make("b", {}, answer.model),
    scoresOf(answer),
    make("p", { class: "text", dir: "auto" }, answer.response || "(empty)",
      answer.finished ? null : make("span", { class: "soft" }, " [cut at the limit]")));

  const fill = (item, prompt) => {
    const { method } = chosen();
    const shown = prompt.responses.filter(({ model }) =>
      method ? model === method || model === reference : !shownModels.hidden.has(model));
    item.querySelector(".cards").replaceChildren(...shown.map(card));
  };
  const itemOf = (prompt) => {
    const tags = `${readable(prompt.family)} · picked: ${prompt.picked}`;
    const item = make("details", { class: "sample" },
      make("summary", { dir: "auto" }, prompt.prompt, " ", make("span", { class: "tags" }, tags)),
      make("div", { class: "cards" }));
    if (prompt.prompt_id === state.get("sample")) item.open = true;
    if (item.open) fill(item, prompt);
    item.addEventListener("toggle", () => {
      if (item.open) {
        fill(item, prompt);
        state.set("sample", prompt.prompt_id);
      } else if (state.get("sample") === prompt.prompt_id) state.set("sample", "");
    });
    return item;
  };
  const draw = () => {
    list.append(...found.slice(drawn, drawn + PAGE).map(itemOf));
    drawn = Math.min(found.length, drawn + PAGE);
    more.hidden = drawn >= found.length;
    count.textContent = `${found.length} of ${data.prompts.length} prompts match; ${drawn} listed.`;
  };
  const search = () => {
    const { q, family, method, order, apart } = chosen(), words = q.toLowerCase();
    const ranked = data.prompts
      .filter((prompt) => (!family || prompt.family === family) && prompt.text.includes(words))
      .map((prompt) => ({ prompt, answers: counted(prompt, method) }))
      .filter(({ answers }) => !apart || apartOf(answers) >= Number(apart))
      .filter(({ answers }) => order !== "losses" || lossOf(answers) > -Infinity);
    const by = orders[order];
    if (by) {
      for (const item of ranked) item.key = by(item.answers);
      ranked.sort((a, b) => (b.key > a.key) - (b.key < a.key));
    }
    found = ranked.map(({ prompt }) => prompt);
    drawn = 0;
    list.replaceChildren();
    draw();
    // A shared link opens its sample, however far down it is.
    const at = found.findIndex((prompt) => prompt.prompt_id === state.get("sample"));
    while (at >= drawn) draw();
  };

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    for (const [name, value] of Object.entries(chosen())) state.set(name, value);
    search();
  });
  more.addEventListener("click", () => {
    const first = list.children.length;
    draw();
    list.children[first]?.querySelector("summary").focus();
  });
  form.hidden = false;
  shownModels.listeners.push(search);
  state.follow(() => {
    for (const name of fields) form.elements[name].value = state.get(name);
    search();
  });
}
state.goTo();
