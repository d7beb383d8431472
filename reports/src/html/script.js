// Filtering, folding, copying. The page reads the same without.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const form = document.querySelector(".filter");
  if (form) {
    form.hidden = false;
    const input = form.querySelector("input");
    const trials = all(".trial");
    const texts = new Map();
    const text = (trial) => {
      if (!texts.has(trial)) {
        const note = trial.closest(".of-note");
        texts.set(trial, ((note ? note.textContent : "") + trial.textContent).toLowerCase());
      }
      return texts.get(trial);
    };
    const apply = () => {
      const wanted = input.value.trim().toLowerCase();
      for (const trial of trials) trial.hidden = wanted !== "" && !text(trial).includes(wanted);
      for (const group of all(".of-note, .release-notes, .troubles").reverse())
        group.hidden = all(".trial", group).every((trial) => trial.hidden);
    };
    let timer;
    input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, 120); });
    form.addEventListener("submit", (event) => { event.preventDefault(); apply(); });
    form.addEventListener("click", (event) => {
      const fold = event.target.dataset && event.target.dataset.fold;
      if (fold) for (const trial of all("details.trial")) trial.open = fold === "open";
    });
  }

  // A link into a fold opens it.
  const reveal = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();

  if (navigator.clipboard)
    for (const place of all(".copy")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(place.querySelector("code").textContent);
        button.textContent = "copied";
        setTimeout(() => { button.textContent = "copy"; }, 1500);
      });
      place.append(" ", button);
    }

  // Paper does not unfold: it gets the tables, but not every long value.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details.trial:not([open]), details.more:not([open])");
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => { for (const fold of opened) fold.open = false; });
})();
