// Makes dist/: the components as JavaScript (jco), and the types with the words of the WIT.
import { copyFile, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execFileSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';

import { generateHostTypes, transpile } from '@bytecodealliance/jco-transpile';
import { _setPreopens } from '@bytecodealliance/preview2-shim/filesystem';

import { schemaOf } from './schema.js';

const here = dirname(dirname(fileURLToPath(import.meta.url)));
const repository = join(here, '..', '..');
const dist = join(here, 'dist');
// Which form of a component goes into the package: `single` (a whole log in one component) or `composed`. For tests:
// `stores`, the stores alone.
const form = process.argv[2] ?? 'single';
const source = {
  single: (name) => join(repository, 'dist', 'components', `single-${name}.wasm`),
  composed: (name) => join(repository, 'dist', `secure-log-${name}.wasm`),
  stores: (name) => join(repository, 'dist', 'components', `store-${name}.wasm`),
}[form];
if (!source) throw new Error(`build.js: ${form} is none of single, composed, stores`);

async function write(files, folder) {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
}

// What jco's code does that it should not. Each is in it once, or the build fails.
const CUTS = [
  // A decoder that takes U+FEFF off the beginning of a text would show two streams under one name.
  [/new TextDecoder(?=[,;])/g, 'new TextDecoder(`utf-8`,{ignoreBOM:true})'],
  // It prints every call, payloads with it, where JCO_DEBUG is set, and asks for the variable hundreds of times a call.
  [/\(\.\.\.(\w+)\)=>\{globalThis\?\.process\?\.env\?\.JCO_DEBUG&&console\.debug\(\.\.\.\1\)\}/g, '()=>{}'],
  // It would load the modules by itself, which the package does; bundlers stop at the import, or pack the whole folder.
  [/getCoreModule\|\|\(getCoreModule=(\w+)=>fetchCompile\(new URL\(`\.\/\$\{\1\}`,import\.meta\.url\)\)\);/g, ''],
  [/await import\(`node:fs\/promises`\)/g, 'null'],
];

/** The same of code that is not minified, which the stores are: the minifier breaks what is composed of several modules. */
const PLAIN = [[/new TextDecoder\(\)/g, 'new TextDecoder("utf-8", { ignoreBOM: true })']];

function cut(files, cuts) {
  const entry = Object.keys(files).find((name) => name.endsWith('.js'));
  let code = Buffer.from(files[entry]).toString();
  for (const [pattern, instead] of cuts) {
    if (code.match(pattern)?.length !== 1) throw new Error(`build.js: ${entry} has ${pattern} no longer, or more than once: look what jco makes of it now`);
    code = code.replace(pattern, instead);
  }
  return { ...files, [entry]: Buffer.from(code) };
}

const out = process.argv[3] ?? dist;
await rm(out, { recursive: true, force: true });
for (const name of ['file', 'sqlite']) {
  const path = source(name);
  if (!(await stat(path).catch(() => undefined))) {
    throw new Error(`build.js: ${path} is not there: run scripts/build-components.sh at the top of the repository`);
  }
  const { files: made } = await transpile(path, {
    name,
    outDir: '',
    instantiation: 'async',
    noNodejsCompat: true,
    validLiftingOptimization: true,
    minify: form !== 'stores',
    quiet: true,
  });
  // Types of the log are made once, below; those of WASI are of no use to whoever opens one.
  const code = Object.fromEntries(Object.entries(made).filter(([path]) => !path.endsWith('.d.ts')));
  const files = { ...cut(code, form === 'stores' ? PLAIN : CUTS), [`${name}.d.ts`]: 'export function instantiate(...args: any[]): Promise<Record<string, any>>;\n' };
  await write(files, join(out, name));
  const size = Object.values(files).reduce((sum, file) => sum + gzipSync(file).length, 0);
  console.log(`${name}: ${(size / 1e6).toFixed(2)} MB gzipped`);
}

// The generator reads the WIT through the shim, which sees nothing unless it is told to.
_setPreopens({ '/': '/' });
const types = await generateHostTypes(join(repository, 'wit'), {
  name: 'log',
  worldName: 'composed-sqlite',
  outDir: '',
  variantsInlineCases: true,
});
delete types['log.d.ts'];
await write(types, out);
const schema = schemaOf(await readFile(join(repository, 'wit', 'log.wit'), 'utf8'), ['log', 'checkpoint', 'witness', 'time', 'encoder']);
await write({ 'schema.js': `export default ${JSON.stringify(schema)};\n`, 'schema.d.ts': 'declare const schema: any;\nexport default schema;\n' }, out);
if (out === dist) {
  execFileSync(process.execPath, [join(here, 'node_modules/typescript/bin/tsc'), '-p', here], { stdio: 'inherit' });
  // TypeScript leaves paths as they are in src/; the declarations lie one folder deeper.
  for (const name of await readdir(join(dist, 'types'))) {
    const path = join(dist, 'types', name);
    await writeFile(path, (await readFile(path, 'utf8')).replaceAll("'../dist/", "'../").replaceAll('"../dist/', '"../'));
  }
  for (const licence of ['LICENSE-MIT', 'LICENSE-APACHE']) await copyFile(join(repository, licence), join(here, licence));
}
