// Makes dist/secure-log-verify.html: one file with the page, the worker and the examiner component inside.
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { transpile } from "@bytecodealliance/jco";
import { build } from "esbuild";
import { ANSWERED } from "./src/wasi.js";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const component = process.env.EXAMINER ?? join(root, "dist/edgesentry-examiner.wasm");
const out = process.env.OUT ?? join(root, "dist/secure-log-verify.html");
const LIMIT = 1.5 * 1024 * 1024;

const sha256 = (data, encoding) => createHash("sha256").update(data).digest(encoding);

/** Puts the page into the list of sums beside it, which the build of the components makes anew. */
async function sum(path, digest) {
  const list = join(dirname(path), "SHA256SUMS");
  const before = await readFile(list, "utf8").catch(() => "");
  const others = before.split("\n").filter((line) => line && !line.endsWith(`  ${basename(path)}`));
  await writeFile(list, [...others, `${digest}  ${basename(path)}`].join("\n") + "\n");
}

const bytes = await readFile(component).catch(() => {
  throw new Error(`${component} is not there: build the components first (scripts/build-components.sh)`);
});
const { files, imports } = await transpile(bytes, {
  name: "examiner",
  instantiation: { tag: "async" },
  minify: false,
  tracing: false,
  noTypescript: true,
  nodejsCompat: false,
});
const wanted = imports.map((name) => name.replace(/@.*/, ""));
const unknown = wanted.filter((name) => !ANSWERED.includes(name));
if (unknown.length > 0) throw new Error(`the examiner imports ${unknown.join(", ")}: it must need nothing that src/wasi.js does not answer`);

const parts = {};
let glue;
for (const [name, content] of Object.entries(files instanceof Array ? Object.fromEntries(files) : files)) {
  if (name.endsWith(".wasm")) parts[name] = gzipSync(content, { level: 9 }).toString("base64");
  else if (name === "examiner.js") glue = Buffer.from(content).toString();
}
// It would take U+FEFF off the beginning of a text, and show another name than the file has.
if (glue.split("new TextDecoder()").length !== 2) throw new Error("jco decodes text in another way than before: look what becomes of U+FEFF");
glue = glue.replace("new TextDecoder()", 'new TextDecoder("utf-8", { ignoreBOM: true })');

const inside = {
  name: "inside",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(examiner|inside)$/ }, ({ path }) => ({ path, namespace: "inside" }));
    onLoad({ filter: /^examiner$/, namespace: "inside" }, () => ({ contents: glue, loader: "js", resolveDir: here }));
    onLoad({ filter: /^inside$/, namespace: "inside" }, () => ({
      contents: `export const worker = ${JSON.stringify(worker)};\nexport const parts = ${JSON.stringify(parts)};`,
      loader: "js",
    }));
  },
};

async function bundle(entry) {
  const { outputFiles } = await build({
    entryPoints: [join(here, entry)],
    bundle: true,
    write: false,
    minify: true,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    legalComments: "inline",
    define: { "import.meta.url": "undefined" },
    plugins: [inside],
    logLevel: "warning",
  });
  return outputFiles[0].text.trim();
}

const worker = await bundle("src/worker.js");
const script = await bundle("src/main.js");
const style = (await build({ entryPoints: [join(here, "src/style.css")], write: false, minify: true, charset: "utf8" })).outputFiles[0].text.trim();

const csp = [
  "default-src 'none'",
  `script-src 'sha256-${sha256(script, "base64")}' 'wasm-unsafe-eval'`,
  "worker-src blob:",
  `style-src 'sha256-${sha256(style, "base64")}'`,
  "img-src data:",
  "connect-src 'none'",
  "form-action 'none'",
  "base-uri 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types worker",
].join("; ");
const { version } = JSON.parse(await readFile(join(here, "package.json"), "utf8"));
const notice = await readFile(join(here, "node_modules/@noble/hashes/LICENSE"), "utf8");
const values = { NOTICE: notice, CSP: csp, STYLE: style, SCRIPT: script, COMPONENT: sha256(bytes, "hex"), VERSION: version };
const template = await readFile(join(here, "src/index.html"), "utf8");
const page = template.replace(/%([A-Z]+)%/g, (whole, name) => values[name] ?? whole);

const packed = gzipSync(page, { level: 9 }).length;
if (packed > LIMIT) throw new Error(`the page has ${packed} bytes after gzip, more than ${LIMIT}: find out what grew`);
await mkdir(dirname(out), { recursive: true });
await writeFile(out, page);
await sum(out, sha256(page, "hex"));
console.log(`${relative(process.cwd(), out)}: ${Buffer.byteLength(page)} bytes, ${packed} after gzip; SHA-256 ${sha256(page, "hex")}`);
console.log(`examiner: ${bytes.length} bytes, imports ${wanted.length} interfaces: ${wanted.join(" ")}`);
