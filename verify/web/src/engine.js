// The worker with the engine inside: made from text of this very file, ended to cancel.

export class Refused extends Error {}

export class Engine {
  /** `source` is the worker's script, `parts` the core modules by name. */
  constructor(source, parts, listen) {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.waiting = new Map();
    this.last = 0;
    this.worker = new Worker(trusted(url));
    this.worker.onmessage = ({ data }) => {
      if (data.id === undefined) return listen(data);
      const { resolve, reject } = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error) reject(data.error.refused ? new Refused(data.error.text) : new Error(data.error.text));
      else resolve(data.value);
    };
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.fail(new Error(event.message || "the worker could not be started: this browser may forbid workers in files"));
    };
    this.ready = this.call("load", parts).finally(() => URL.revokeObjectURL(url));
    this.ready.catch(() => {});
  }

  call(method, args) {
    return new Promise((resolve, reject) => {
      const id = (this.last += 1);
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, method, args });
    });
  }

  fail(error) {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  end() {
    this.worker.terminate();
    this.fail(new Cancelled());
  }
}

export class Cancelled extends Error {}

let policy;

function trusted(url) {
  if (!globalThis.trustedTypes) return url;
  policy ??= trustedTypes.createPolicy("worker", {
    createScriptURL(candidate) {
      if (!candidate.startsWith("blob:")) throw new TypeError("only the worker inside this page may run");
      return candidate;
    },
  });
  return policy.createScriptURL(url);
}

/** Undoes base64 and gzip. */
export async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
