// Applies the stored theme before the first paint. Without a stored one, the system decides.
"use strict";
try {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  /* storage is disabled */
}
