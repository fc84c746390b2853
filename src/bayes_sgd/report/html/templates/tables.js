// The tables: unpacked when they are opened, sorted by the buttons of their columns, filtered by words and conditions.
{
  const PAGE = 50;
  const LONG = 60; // characters, above which a text is broken into lines

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  const tests = {
    "=": (a, b) => a === b, "!=": (a, b) => a !== b, "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
  };
  const written = (value) => (value === null ? "" : String(value).replace(/^-/, "−"));

  // a filter as a function of a row's number; a condition on no column of the table is a word
  const condition = (term, table) => {
    const [, name, sign, bound] = term.match(/^(\w+)(<=|>=|!=|=|<|>)(.+)$/) ?? [];
    const place = table.columns.findIndex((column) => column.name === name);
    if (place < 0) return (row) => table.values.some((values) => String(values[row] ?? "").toLowerCase().includes(term));
    const numeric = !table.columns[place].text && bound !== "" && !Number.isNaN(Number(bound));
    const value = numeric ? Number(bound) : bound;
    return (row) => {
      const cell = table.values[place][row];
      return cell !== null && tests[sign](numeric ? cell : String(cell).toLowerCase(), value);
    };
  };

  const build = (section, table) => {
    const { name } = section.dataset;
    const all = [...(table.values[0] ?? []).keys()];
    let [chosen, first, sorted, up] = [all, 0, -1, true];

    const heads = table.columns.map((column, place) => {
      const button = element("button", { type: "button", textContent: column.name });
      const head = element("th", { scope: "col", className: column.text ? "" : "number-column" }, button);
      button.addEventListener("click", () => {
        up = sorted === place ? !up : true;
        sorted = place;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        refresh();
      });
      return head;
    });
    const body = element("tbody");
    const grid = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body);
    const search = element("input", { type: "search", placeholder: `word, or ${table.columns[0]?.name ?? "column"}=value` });
    const status = element("p", {});
    status.setAttribute("role", "status");
    const back = element("button", { type: "button", textContent: "Previous rows" });
    const on = element("button", { type: "button", textContent: "Next rows" });
    const wide = element("div", { className: "wide", tabIndex: 0 }, grid);
    wide.setAttribute("role", "region");
    wide.setAttribute("aria-label", `Rows of ${name}`);
    grid.setAttribute("aria-label", name);

    const refresh = () => {
      const conditions = search.value.toLowerCase().split(/\s+/).filter(Boolean).map((term) => condition(term, table));
      chosen = all.filter((row) => conditions.every((holds) => holds(row)));
      if (sorted >= 0) {
        const values = table.values[sorted];
        // what has no value comes last either way
        chosen.sort((a, b) => (up || values[a] === null || values[b] === null ? 1 : -1) * compare(values[a], values[b]));
      }
      first = 0;
      draw();
    };
    const draw = () => {
      const shown = chosen.slice(first, first + PAGE);
      body.replaceChildren(
        ...shown.map((row) =>
          element("tr", {}, ...table.columns.map((column, place) => {
            const text = written(table.values[place][row]);
            const kind = column.text ? (text.length > LONG ? "long" : "") : "number-column";
            return element("td", { textContent: text, className: kind });
          })),
        ),
      );
      const last = first + shown.length;
      status.textContent = shown.length
        ? `Rows ${first + 1} to ${last} of ${chosen.length}${chosen.length < all.length ? `, of ${all.length} in all` : ""}`
        : `No row of ${all.length}`;
      back.disabled = first === 0;
      on.disabled = last >= chosen.length;
    };
    search.addEventListener("input", refresh);
    back.addEventListener("click", () => { first -= PAGE; draw(); });
    on.addEventListener("click", () => { first += PAGE; draw(); });
    const tool = element("div", { className: "tool" }, element("label", {}, `Filter ${name} `, search), back, on);
    section.querySelector(".body").replaceChildren(tool, status, wide);
    refresh();
  };

  for (const section of document.querySelectorAll("section.table")) {
    const rows = section.querySelector("details.rows");
    const open = async () => {
      if (!rows.open || section.dataset.built) return;
      section.dataset.built = "yes";
      build(section, JSON.parse(await unpacked(section.dataset.packed)));
    };
    rows.addEventListener("toggle", open);
    open();
  }
}
