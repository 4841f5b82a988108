import { el, mark, strange } from "./dom.js";

const FIT = "“Holds” below says only that hashes fit each other.";

/** Verdict in words for a summary. */
export function verdictOf(summary, trusted) {
  if (summary.standing === "broken") {
    return { standing: "broken", title: "Does not hold", text: "Something in this file is not as its hashes or signatures say. What follows a broken place was not checked." };
  }
  if (summary.standing === "holds") {
    const some = summary.notChecked.length > 0 ? " Not everything was checked: see “Not checked”." : "";
    return { standing: "holds", title: "Holds", text: `The whole file was read, and nothing that was checked in it is broken.${some}` };
  }
  const none = trusted.keys.length + trusted.deviceKeys.length === 0 && !trusted.policyBytes;
  return none
    ? { standing: "not-checked", title: "Not proven: no keys given", text: `Nothing is broken in itself, but anybody could have made this file. ${FIT} Give a key that you trust, then examine again.` }
    : { standing: "not-checked", title: "Not proven: no signature by a key you gave", text: `Nothing is broken in itself, but none of the keys that you gave signed what is in this file. ${FIT} Check that you have the right file and the right keys.` };
}

export function banner({ standing, title, text }) {
  return el("section", { class: `verdict ${standing}`, "aria-labelledby": "verdict-h" },
    mark(standing),
    el("div", {}, el("h2", { id: "verdict-h" }, title), el("p", {}, text)));
}

/** The file is nothing that can be examined, or a key was refused. */
export function refusal(file, text) {
  return sad("not-checked", "Not examined", file, text, "");
}

/** The engine or the page itself failed: nothing is known of the file. */
export function failure(title, file, text) {
  return sad("broken", title, file, text, "This says nothing about the file. Keep it, and send the text above to the maker of this page.");
}

function sad(standing, title, file, text, advice) {
  const node = banner({ standing, title, text: "" });
  const box = node.querySelector("div");
  box.querySelector("p").replaceWith(
    ...(file ? [el("p", {}, "File: ", strange(file.name, { limit: 200 }))] : []),
    el("pre", { class: "reason" }, strange(text, { lines: true, limit: 4000, tag: "span" })),
    ...(advice ? [el("p", {}, advice)] : []));
  return node;
}
