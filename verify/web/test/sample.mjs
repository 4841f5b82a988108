// The export that docs/format.md shows, with the key that it names.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const document = readFileSync(join(dirname(fileURLToPath(import.meta.url)), "../../../docs/format.md"), "utf8");

export const SAMPLE = document.split("<!-- example: export -->")[1].split("```")[1].replace(/^json\n/, "");
export const SAMPLE_KEY = JSON.parse(SAMPLE.split("\n")[1]).key;
