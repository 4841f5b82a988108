import { byId, el, strange } from "./dom.js";
import { count, plain } from "./text.js";
import { certificates, deviceKeys, keyFile, kindOf, verifierKeys } from "./trust.js";

/** The form: what the auditor trusts, and the file. Calls `onFile` with a file and `onChange` when trust changes. */
export class Inputs {
  constructor({ onFile, onChange }) {
    this.onFile = onFile;
    this.onChange = onChange;
    this.policy = undefined;
    this.anchors = [];
    byId("file").addEventListener("change", ({ target }) => target.files[0] && onFile(target.files[0]));
    for (const id of ["keys", "devices"]) byId(id).addEventListener("input", () => this.changed(id));
    const takers = { "keys-file": "keys", "devices-file": "devices", "policy-file": "policy", "anchors-file": "anchors" };
    for (const [id, kind] of Object.entries(takers)) {
      byId(id).addEventListener("change", async ({ target }) => {
        const files = [...target.files];
        target.value = "";
        for (const file of files) await this.take(kind, file);
      });
    }
    this.watchDrops();
  }

  watchDrops() {
    const zone = byId("drop");
    let depth = 0;
    const over = (on) => zone.classList.toggle("over", on);
    addEventListener("dragenter", (event) => {
      event.preventDefault();
      depth += 1;
      over(true);
    });
    addEventListener("dragleave", () => {
      depth -= 1;
      over(depth > 0);
    });
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", async (event) => {
      event.preventDefault();
      depth = 0;
      over(false);
      let chosen;
      for (const file of [...event.dataTransfer.files]) {
        const kind = await kindOf(file);
        if (kind === "document") chosen = file;
        else await this.take(kind, file);
      }
      if (chosen) this.onFile(chosen);
    });
  }

  /** Takes a file of keys, a policy or certificates. */
  async take(kind, file) {
    try {
      const bytes = new Uint8Array(await file.arrayBuffer());
      const text = () => new TextDecoder().decode(bytes);
      let note = "";
      if (kind === "keys") {
        verifierKeys(text());
        append("keys", text());
      } else if (kind === "devices") {
        const { keys, secret } = keyFile(file.name, text());
        append("devices", keys.join("\n"));
        if (secret) note = `${plain(file.name)} has the private key in it, which no auditor should have. Only its public key was taken.`;
      } else if (kind === "policy") {
        this.policy = { name: file.name, bytes };
      } else {
        const found = certificates(file.name, bytes);
        this.anchors.push(...found.map((der) => ({ name: file.name, der })));
      }
      this.changed(kind);
      if (note) this.error(kind, note);
    } catch (error) {
      this.error(kind, error.message);
    }
  }

  changed(kind) {
    this.error(kind, "");
    this.list("policy", this.policy ? [this.policy] : [], () => (this.policy = undefined));
    this.list("anchors", this.anchors, (at) => this.anchors.splice(at, 1));
    this.onChange();
  }

  list(kind, files, remove) {
    byId(`${kind}-list`).replaceChildren(
      ...files.map((file, at) =>
        el("li", {}, strange(file.name, { limit: 80 }), " ",
          el("button", { type: "button", class: "small", "aria-label": `Remove ${plain(file.name, 80)}`, onclick: () => {
            remove(at);
            this.changed(kind);
            byId(`${kind}-file`).focus();
          } }, "Remove"))));
  }

  error(kind, text) {
    byId(`${kind}-error`).textContent = text;
    const field = byId(kind) ?? byId(`${kind}-file`);
    if (text) {
      field.setAttribute("aria-invalid", "true");
      byId("live").textContent = text;
    } else field.removeAttribute("aria-invalid");
  }

  /** Trust as the engine takes it. Throws after it has named the field at fault. */
  trust() {
    const read = (kind, parse) => {
      try {
        return parse(byId(kind).value);
      } catch (error) {
        this.error(kind, error.message);
        byId("trust").open = true;
        byId(kind).focus();
        throw error;
      }
    };
    return {
      keys: read("keys", verifierKeys),
      deviceKeys: read("devices", deviceKeys),
      policy: this.policy?.bytes,
      timeAnchors: this.anchors.map(({ der }) => der),
    };
  }

  /** What the report says was trusted. */
  names() {
    return { policy: this.policy?.name, anchors: this.anchors.map(({ name }) => name) };
  }

  showFile(file) {
    const node = byId("chosen");
    node.replaceChildren("Chosen: ", strange(file.name, { limit: 200 }), `, ${count(file.size, "byte")}`);
    node.hidden = false;
  }
}

function append(id, text) {
  const field = byId(id);
  const before = field.value.trimEnd();
  field.value = [before, text.trim()].filter(Boolean).join("\n");
}
