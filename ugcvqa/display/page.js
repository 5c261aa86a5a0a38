
"use strict";
// Tables are readable without this: it adds sorting by a click on a heading, and a filter to long tables.
const valueOf = (row, column) => {
  const cell = row.cells[column];
  const data = cell.querySelector("data");
  return data ? Number(data.value) : cell.textContent.trim();
};
const isMissing = (value) => value === "" || value === "–";
const compare = (one, other) =>
  typeof one === "number" && typeof other === "number"
    ? one - other
    : String(one).localeCompare(String(other), undefined, { numeric: true });

function sortBy(table, heads, column, direction) {
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => [valueOf(row, column), row]);
  keyed.sort(([one], [other]) => {
    if (isMissing(one) || isMissing(other)) return isMissing(one) - isMissing(other); // last either way
    return direction * compare(one, other);
  });
  body.append(...keyed.map(([, row]) => row));
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () =>
      sortBy(table, heads, column, head.getAttribute("aria-sort") === "ascending" ? -1 : 1)
    );
    head.append(button);
  });
  if (table.tBodies[0].rows.length > 15) {
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "Filter by name";
    field.setAttribute("aria-label", "Filter the table by name");
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      for (const row of table.tBodies[0].rows) {
        row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      }
    });
    table.parentElement.before(field);
  }
}
