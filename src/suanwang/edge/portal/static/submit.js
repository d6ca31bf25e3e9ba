/* The submit form: what is typed on one side shows on the other, with candidates and errors. */
"use strict";

(() => {
  const form = document.getElementById("submit-form");
  if (!form) return;
  const source = form.elements.namedItem("source"), spec = form.elements.namedItem("spec");
  const preview = document.getElementById("preview");
  const fields = [...form.querySelectorAll("[data-side=fields] [name]")];
  let timer = null, running = null;

  function put(name, text) {
    const field = form.elements.namedItem(name);
    if (!field || field === document.activeElement) return;
    if (field.type === "checkbox") field.checked = text === "true";
    else if (field.tagName === "SELECT") {
      const known = [...field.options].some((one) => one.value === text);
      if (known) field.value = text;
    } else field.value = text;
  }

  function tell(errors) {
    form.querySelectorAll("[data-error]").forEach((box) => {
      const name = box.dataset.error;
      box.textContent = errors[name] || "";
      const field = form.elements.namedItem(name);
      if (field) field.toggleAttribute("aria-invalid", false);
      if (field && errors[name]) { field.setAttribute("aria-invalid", "true"); field.setAttribute("aria-describedby", `${name}-error`); }
    });
  }

  async function look() {
    running?.abort();
    const mine = (running = new AbortController());
    try {
      const answer = await fetch(form.dataset.preview, {
        method: "POST", body: new URLSearchParams(new FormData(form)), signal: mine.signal, credentials: "same-origin",
      });
      if (!answer.ok) return;
      const found = await answer.json();
      if (mine !== running) return;
      if (source.value === "fields" && "spec" in found && document.activeElement !== spec) spec.value = found.spec;
      if (source.value === "yaml" && found.fields) Object.entries(found.fields).forEach(([name, text]) => put(name, text));
      tell(found.errors);
      preview.innerHTML = found.html;
    } catch (error) {
      if (error.name !== "AbortError") preview.textContent = String(error);
    }
  }

  function later(side) {
    source.value = side;
    clearTimeout(timer);
    timer = setTimeout(look, 350);
  }
  fields.forEach((field) => field.addEventListener("input", () => later("fields")));
  spec.addEventListener("input", () => later("yaml"));
  spec.addEventListener("keydown", (event) => {
    if (event.key === "Tab" && !event.shiftKey && spec.selectionStart !== spec.selectionEnd) {
      event.preventDefault();
      spec.setRangeText("  ", spec.selectionStart, spec.selectionStart, "end");
    }
  });
  source.value = "yaml";
  look();
})();
