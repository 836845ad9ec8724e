// Live updates, theme, search and copy buttons. Pages work without it.
"use strict";
(() => {
  const main = document.getElementById("main");
  const live = document.getElementById("live");
  const root = document.documentElement;

  // Theme. The system decides until somebody chooses.
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const switchTheme = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("theme", root.dataset.theme);
    } catch {
      /* storage is disabled */
    }
    dispatchEvent(new Event("themechange"));
  };

  const showToast = (text) => {
    const place = document.getElementById("toasts");
    if (!place) return;
    const toast = document.createElement("div");
    toast.className = "toast";
    toast.textContent = text;
    place.replaceChildren(toast);
    setTimeout(() => toast.remove(), 4000);
  };

  const copyCode = async (button) => {
    const text = button.parentElement.querySelector("pre")?.textContent ?? "";
    try {
      await navigator.clipboard.writeText(text);
      showToast("Copied");
    } catch {
      showToast("Select the text and copy it: the browser does not allow the button to do so");
    }
  };

  // Controls that only the script can serve are hidden without it.
  const revealControls = (part) => {
    for (const control of part.querySelectorAll("[data-copy], [data-theme-toggle], [data-print]"))
      control.hidden = false;
  };
  revealControls(document);

  addEventListener("click", (event) => {
    if (event.target.closest("[data-theme-toggle]")) switchTheme();
    if (event.target.closest("[data-print]")) print();
    const copy = event.target.closest("[data-copy]");
    if (copy) copyCode(copy);
  });

  // Search: `/` or Ctrl K opens it, arrow keys choose, Enter follows.
  const search = document.getElementById("search");
  const results = document.getElementById("search-results");
  const field = search?.querySelector("input");
  let asked = 0;
  const choose = (step) => {
    const links = [...results.querySelectorAll("a")];
    if (links.length === 0) return;
    const at = links.findIndex((link) => link.ariaSelected === "true");
    for (const link of links) link.ariaSelected = "false";
    const next = links[(at + step + links.length) % links.length];
    next.ariaSelected = "true";
    next.scrollIntoView({ block: "nearest" });
  };
  const runSearch = async () => {
    const number = ++asked;
    const query = field.value.trim();
    try {
      const response = await fetch(`/search?part=results&q=${encodeURIComponent(query)}`, {
        redirect: "error",
      });
      if (!response.ok) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      // A slower answer to an earlier letter must not replace this one.
      if (number === asked) {
        results.replaceChildren(...page.body.childNodes);
        choose(1);
      }
    } catch {
      if (number === asked)
        results.textContent = "Search failed. Press Enter to search on a page of its own.";
    }
  };
  if (search && field) {
    let timer = 0;
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(runSearch, 150);
    });
    search.addEventListener("toggle", (event) => {
      if (event.newState === "open") {
        field.focus();
        field.select();
        runSearch();
      }
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") choose(1);
      else if (event.key === "ArrowUp") choose(-1);
      else if (event.key === "Enter") {
        const chosen = results.querySelector('a[aria-selected="true"]');
        if (!chosen) return;
        location.href = chosen.href;
      } else return;
      event.preventDefault();
    });
    addEventListener("keydown", (event) => {
      const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
      const wanted =
        (event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !isTyping);
      if (!wanted) return;
      event.preventDefault();
      if (!search.matches(":popover-open")) search.showPopover();
    });
  }

  // Selected rows: shows how many, and the actions on them.
  const countSelection = () => {
    for (const form of document.querySelectorAll("[data-selection]")) {
      const boxes = [...form.querySelectorAll('tbody input[type="checkbox"]')];
      const count = boxes.filter((box) => box.checked).length;
      const all = form.querySelector("[data-select-all]");
      if (all) {
        all.checked = count > 0 && count === boxes.length;
        all.indeterminate = count > 0 && count < boxes.length;
      }
      for (const box of boxes) box.closest("tr").ariaSelected = String(box.checked);
      for (const place of form.querySelectorAll("[data-selected-count]")) {
        place.textContent = place.dataset[count === 1 ? "one" : "many"].replace("{}", String(count));
      }
      for (const bar of form.querySelectorAll("[data-bulk]")) bar.hidden = count === 0;
    }
  };
  addEventListener("change", (event) => {
    if (event.target.matches("[data-select-all]")) {
      const form = event.target.closest("[data-selection]");
      for (const box of form.querySelectorAll('tbody input[type="checkbox"]'))
        box.checked = event.target.checked;
    }
    if (event.target.closest("[data-selection]")) countSelection();
    if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
  });
  countSelection();

  // Fetches the page again after live events, and replaces its content.
  if (!main || main.dataset.live !== "yes" || !window.EventSource) return;
  let isFetching = false;
  let isStale = false;
  const isBusy = () => {
    const at = document.activeElement;
    const isEditing = at?.closest?.("form") && main.contains(at) && at.tagName !== "BUTTON";
    return isEditing || main.querySelector(":popover-open, input[type=checkbox]:checked");
  };
  const say = (text, isProblem) => {
    if (!live) return;
    const span = document.createElement("span");
    span.className = isProblem ? "live live-bad" : "live";
    span.textContent = text;
    live.replaceChildren(span);
  };
  const refresh = async () => {
    if (isBusy()) return;
    // An event during a fetch may not be on the fetched page, so fetch once more afterwards.
    isStale = isFetching;
    if (isFetching) return;
    isFetching = true;
    try {
      const response = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
      if (!response.ok) throw new Error(String(response.status));
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const open = [...main.querySelectorAll("details[open] > summary")].map(
        (summary) => summary.textContent,
      );
      main.replaceChildren(...page.getElementById("main").childNodes);
      for (const summary of main.querySelectorAll("details > summary")) {
        if (open.includes(summary.textContent)) summary.parentElement.open = true;
      }
      for (const part of ["live", "drawer"]) {
        const next = page.getElementById(part);
        const old = document.getElementById(part);
        if (next && old && !old.matches(":popover-open")) old.replaceChildren(...next.childNodes);
      }
      const rail = document.querySelector(".rail .nav");
      rail?.replaceWith(page.querySelector(".rail .nav"));
      revealControls(document);
      countSelection();
      dispatchEvent(new Event("pagechange"));
    } catch {
      say("Out of date: reload this page", true);
    } finally {
      isFetching = false;
      if (isStale) {
        isStale = false;
        refresh();
      }
    }
  };
  const events = new EventSource("/events");
  for (const kind of ["run_finished", "logs_evaluated", "target_changed", "delivered"])
    events.addEventListener(kind, refresh);
  // Events between loading the page and opening the stream were missed.
  events.addEventListener("open", refresh);
  events.addEventListener("error", () => say("Connection lost: this page may be out of date", true));

  // Relative times grow between refreshes.
  setInterval(() => {
    for (const time of document.querySelectorAll("#live time")) {
      const seconds = Math.max(0, Math.round((Date.now() - Date.parse(time.dateTime)) / 1000));
      if (seconds < 120) time.textContent = seconds < 2 ? "now" : `${seconds} s ago`;
    }
  }, 1000);
})();
