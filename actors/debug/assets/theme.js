// The theme is set before the first paint, which is why this is not a module. Automatic follows the system.
(() => {
  const names = ["auto", "light", "dark"];
  const words = { auto: "automatic", light: "light", dark: "dark" };
  const read = () => {
    try { return names.includes(localStorage.theme) ? localStorage.theme : "auto"; } catch { return "auto"; }
  };
  const apply = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
  };
  let current = read();
  apply(current);
  addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const show = () => {
      button.title = `Theme: ${words[current]}`;
      button.setAttribute("aria-label", button.title);
      button.dataset.theme = current;
    };
    show();
    button.addEventListener("click", () => {
      current = names[(names.indexOf(current) + 1) % names.length];
      try { localStorage.theme = current; } catch { /* private mode: for this page only */ }
      apply(current);
      show();
    });
  });
})();
