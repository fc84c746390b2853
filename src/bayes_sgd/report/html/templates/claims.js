"use strict";
// The table of claims: sorted by the buttons of its columns, filtered by verdict and words.
{
  const table = document.getElementById("claims-table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const form = document.getElementById("filter");
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  const show = () => {
    const verdicts = new Set(new FormData(form).getAll("verdict"));
    const wanted = form.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      row.hidden = !verdicts.has(row.dataset.verdict) || !wanted.every((word) => words.get(row).includes(word));
    }
    const count = rows.filter((row) => !row.hidden).length;
    document.getElementById("claims-shown").textContent = `${count} of ${rows.length} claims`;
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());

  const keys = {
    order: (row) => Number(row.dataset.order),
    verdict: (row) => Number(row.dataset.place),
    statement: (row) => row.dataset.statement,
    value: (row) => (row.dataset.value === "" ? Infinity : Number(row.dataset.value)),
  };
  const heads = [...table.tHead.rows[0].cells].filter((head) => head.dataset.key);
  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = keys[head.dataset.key];
      const sorted = [...rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        const by = typeof x === "string" ? x.localeCompare(y) : x === y ? 0 : x - y;
        return (up ? by : -by) || keys.order(a) - keys.order(b);
      });
      body.append(...sorted);
    });
  }

  // a link to what is hidden shows it
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.hidden) {
      form.reset();
      show();
    }
    target?.querySelector(":scope > details:not(.meanings)")?.setAttribute("open", "");
    target?.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  addEventListener("DOMContentLoaded", () => location.hash && reveal());
  show();
}
