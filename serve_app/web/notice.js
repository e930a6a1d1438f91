// One message above everything else, with at most one thing to do about it.

const $ = (id) => document.getElementById(id);

export class Notice {
  constructor() {
    $("notice-close").addEventListener("click", () => this.hide());
  }

  /** `about` "line": gone as soon as there is a connection again; else it stays until it is dismissed. `calm`: it is
   * no failure. */
  show(text, { action = null, about = "page", calm = false } = {}) {
    this.about = about;
    $("notice").hidden = false;
    $("notice").classList.toggle("calm", calm);
    if ($("notice-text").textContent !== text) $("notice-text").textContent = text; // the same is not read aloud again
    $("notice-action").hidden = action === null;
    $("notice-action").textContent = action?.label ?? "";
    $("notice-action").onclick = action?.run ?? null;
  }

  connected() {
    if (this.about === "line") this.hide();
  }

  hide() {
    $("notice").hidden = true;
  }
}
