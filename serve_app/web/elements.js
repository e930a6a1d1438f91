// What several drawings are made of.

export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}
