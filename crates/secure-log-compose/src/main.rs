//! `secure-log-compose`: composes the components into artifacts, or shows what a component imports and exports.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use lexopt::{Arg, Parser, ValueExt};
use secure_log_compose::{
    files::write_atomically,
    imports::{Outline, check_golden},
    plug::{Exports, Part, plug},
    seal::seal_environment,
    shrink::shrink,
    stacks::{Component, Stack, Stacks},
    world::{Worlds, wit_of},
};

const USAGE: &str = "\
Composes components into artifacts and checks that each is complete.

usage: secure-log-compose build --components DIR [options]   compose everything in stacks.toml
       secure-log-compose show FILE...                       print what components import and export

options of build:
  --components DIR   where cargo put the components (target/wasm32-wasip2/release)
  --stacks FILE      what to compose (default: stacks.toml)
  --wit DIR          the WIT package that declares the worlds, and further ones in its folders (default: wit)
  --golden DIR       the golden lists of imports (default: tests/golden)
  --out DIR          where the artifacts go (default: dist)
  --prebuilt NAME=FILE
                     take this component in the place of the artifact NAME
  --portable DIR     where cargo put the portable builds, for the components that have no other (when these are not)
  --wasm-opt FILE    make the components smaller with binaryen's wasm-opt
  --bless            write the golden lists instead of comparing with them
  --quiet            print sizes without the imports
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut args = Parser::from_env();
    match args.next()? {
        Some(Arg::Value(command)) if command == "build" => Build::from_args(args)?.run(),
        Some(Arg::Value(command)) if command == "show" => show(args),
        Some(Arg::Long("help") | Arg::Short('h')) => {
            print!("{USAGE}");
            Ok(())
        }
        Some(other) => Err(other.unexpected().into()),
        None => bail!("say what to do\n\n{USAGE}"),
    }
}

fn show(mut args: Parser) -> Result<()> {
    let mut any = false;
    while let Some(arg) = args.next()? {
        let Arg::Value(file) = arg else { return Err(arg.unexpected().into()) };
        any = true;
        let bytes = read(Path::new(&file))?;
        let outline = Outline::of(&file.to_string_lossy(), &bytes)?;
        println!("{}  {}", file.to_string_lossy(), size(bytes.len()));
        print_lines("imports", &outline.imports);
        print_lines("exports", &outline.exports);
    }
    if !any {
        bail!("show needs at least one file\n\n{USAGE}");
    }
    Ok(())
}

struct Build {
    components: PathBuf,
    stacks: PathBuf,
    wit: PathBuf,
    golden: PathBuf,
    out: PathBuf,
    wasm_opt: Option<PathBuf>,
    prebuilt: BTreeMap<String, PathBuf>,
    portable: Option<PathBuf>,
    bless: bool,
    quiet: bool,
}

/// What stacks.toml asks of a component or an artifact.
struct Demands<'a> {
    forbid: &'a [String],
    exports: &'a [String],
    pinned: bool,
}

impl Build {
    fn from_args(mut args: Parser) -> Result<Self> {
        let mut components = None;
        let mut build = Self {
            components: PathBuf::new(),
            stacks: "stacks.toml".into(),
            wit: "wit".into(),
            golden: "tests/golden".into(),
            out: "dist".into(),
            wasm_opt: None,
            prebuilt: BTreeMap::new(),
            portable: None,
            bless: false,
            quiet: false,
        };
        let path = |value: OsString| PathBuf::from(value);
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Long("components") => components = Some(path(args.value()?)),
                Arg::Long("stacks") => build.stacks = path(args.value()?),
                Arg::Long("wit") => build.wit = path(args.value()?),
                Arg::Long("golden") => build.golden = path(args.value()?),
                Arg::Long("out") => build.out = path(args.value()?),
                Arg::Long("wasm-opt") => build.wasm_opt = Some(path(args.value()?)),
                Arg::Long("prebuilt") => {
                    let value = args.value()?.string()?;
                    let (name, file) = value.split_once('=').context("--prebuilt wants NAME=FILE")?;
                    build.prebuilt.insert(name.to_owned(), file.into());
                }
                Arg::Long("portable") => build.portable = Some(path(args.value()?)),
                Arg::Long("bless") => build.bless = true,
                Arg::Long("quiet") => build.quiet = true,
                Arg::Value(value) => bail!("`{}` is one word too many\n\n{USAGE}", value.string()?),
                other => return Err(other.unexpected().into()),
            }
        }
        build.components = components.context("build needs --components DIR")?;
        Ok(build)
    }

    fn run(&self) -> Result<()> {
        let text = std::fs::read_to_string(&self.stacks)
            .with_context(|| format!("cannot read {}", self.stacks.display()))?;
        let stacks = Stacks::parse(&text)?;
        let worlds = Worlds::read(&self.wit)?;
        let mut parts: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        let mut faults = 0;
        let mut complain = |error: anyhow::Error| {
            eprintln!("error: {error:#}");
            faults += 1;
        };

        for name in self.prebuilt.keys() {
            if !stacks.stacks.contains_key(name) {
                bail!("--prebuilt {name}=…, but stacks.toml has no artifact of that name");
            }
        }
        let mut left_out = BTreeSet::new();
        for (name, component) in &stacks.components {
            let folder = self.portable.as_ref().filter(|_| component.portable_only);
            let file = folder.unwrap_or(&self.components).join(component.file_name());
            if let Some(hint) = component.optional.as_ref().filter(|_| !file.exists()) {
                eprintln!("left out: component `{name}` is not built; {hint}");
                left_out.insert(name.as_str());
                self.remove(&component_place(name, component))?;
                continue;
            }
            let bytes = read(&file).with_context(|| {
                format!("component `{name}` is not built; run scripts/build-components.sh")
            })?;
            match self.component(name, component, &bytes, &stacks.ambient) {
                Ok(bytes) => _ = parts.insert(name, bytes),
                Err(error) => complain(error.context(format!("component `{name}`"))),
            }
        }
        for name in stacks.build_order()? {
            let stack = &stacks.stacks[name];
            let missing = stack.parts().find(|part| left_out.contains(part.as_str()));
            if let Some(part) = missing.filter(|_| !self.prebuilt.contains_key(name)) {
                eprintln!("left out: artifact `{name}`, because its part `{part}` is");
                self.remove(&stack_place(name, stack))?;
                left_out.insert(name);
                continue;
            }
            match self.compose(name, &stacks, &worlds, &parts) {
                Ok(bytes) => _ = parts.insert(name, bytes),
                Err(error) => complain(error.context(format!("artifact `{name}`"))),
            }
        }
        match faults {
            0 => Ok(()),
            1 => bail!("1 check failed; nothing incomplete was written"),
            n => bail!("{n} checks failed; nothing incomplete was written"),
        }
    }

    /// Makes a component ready for composition, as `components/<name>.wasm` in the output.
    fn component(&self, name: &str, from: &Component, bytes: &[u8], ambient: &[String]) -> Result<Vec<u8>> {
        let smaller;
        let bytes = match &self.wasm_opt {
            Some(wasm_opt) => {
                smaller = shrink(name, bytes, wasm_opt, &self.components.join("shrunk"))?;
                &smaller
            }
            None => bytes,
        };
        let sealed;
        let bytes = if from.no_environment {
            sealed = seal_environment(Part { name, bytes })?;
            &sealed
        } else {
            bytes
        };
        let demands = Demands { forbid: &from.forbid, exports: &[], pinned: !from.test };
        self.finish(&component_place(name, from), bytes, &demands, ambient)?;
        Ok(bytes.to_vec())
    }

    /// Reports, checks and writes a component or an artifact; `name` is its place in the output, without `.wasm`.
    fn finish(&self, name: &Path, bytes: &[u8], demands: &Demands<'_>, ambient: &[String]) -> Result<()> {
        let with = |folder: &Path, ending: &str| folder.join(format!("{}{ending}", name.display()));
        let (path, golden) = (with(&self.out, ".wasm"), with(&self.golden, ".imports"));
        let outline = Outline::of(&name.to_string_lossy(), bytes)?;
        println!("{}  {}", path.display(), size(bytes.len()));
        if !self.quiet {
            print_lines("imports", &outline.imports);
        }
        if let Some(import) = outline.first_import_of(demands.forbid) {
            bail!("it imports `{import}`, which stacks.toml forbids it");
        }
        if let Some(export) = outline.first_missing_export(demands.exports) {
            bail!("it does not export `{export}`, which stacks.toml asks of it");
        }
        if demands.pinned {
            check_golden(&outline.pinned_imports(ambient), &golden, self.bless)?;
        }
        write_atomically(&path, bytes)?;
        if demands.pinned {
            write_atomically(&path.with_extension("wit"), wit_of(bytes)?.as_bytes())?;
        }
        Ok(())
    }

    /// Removes what an earlier build left at a place, so that nobody takes it for a new one.
    fn remove(&self, place: &Path) -> Result<()> {
        for ending in ["wasm", "wit"] {
            let path = self.out.join(format!("{}.{ending}", place.display()));
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    let what = || format!("cannot remove {}, which is of an earlier build", path.display());
                    return Err(e).with_context(what);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn compose(
        &self,
        name: &str,
        stacks: &Stacks,
        worlds: &Worlds,
        parts: &BTreeMap<&str, Vec<u8>>,
    ) -> Result<Vec<u8>> {
        let stack = &stacks.stacks[name];
        if let Some(file) = self.prebuilt.get(name) {
            let bytes = read(file)?;
            worlds.check(&bytes, &stack.world).with_context(|| format!("{}", file.display()))?;
            let demands = Demands { forbid: &[], exports: &stack.exports, pinned: false };
            self.finish(&stack_place(name, stack), &bytes, &demands, &stacks.ambient)?;
            return Ok(bytes);
        }
        let part = |name: &'_ String| -> Result<(String, &[u8])> {
            let bytes = parts.get(name.as_str()).with_context(|| format!("its part `{name}` failed"))?;
            Ok((name.clone(), bytes))
        };
        let (socket, socket_bytes) = part(&stack.socket)?;
        let plugs = stack.plugs.iter().map(part).collect::<Result<Vec<_>>>()?;
        let plugs: Vec<Part<'_>> = plugs.iter().map(|(name, bytes)| Part { name, bytes }).collect();
        let exports = if stack.reexport { Exports::All } else { Exports::Socket };
        let bytes = plug(Part { name: &socket, bytes: socket_bytes }, &plugs, exports, |import| {
            worlds.imports(&stack.world, import)
        })?;
        worlds.check(&bytes, &stack.world)?;
        // Of what comes from elsewhere nobody here knows what it imports.
        let own = !stacks.parts_of(name).iter().any(|part| self.prebuilt.contains_key(*part));
        let demands = Demands { forbid: &[], exports: &stack.exports, pinned: own && !stack.test };
        self.finish(&stack_place(name, stack), &bytes, &demands, &stacks.ambient)?;
        Ok(bytes)
    }
}

/// Where in the output a component is, without `.wasm`.
fn component_place(name: &str, component: &Component) -> PathBuf {
    Path::new(if component.test { "test" } else { "components" }).join(name)
}

/// Where in the output an artifact is, without `.wasm`.
fn stack_place(name: &str, stack: &Stack) -> PathBuf {
    let folder = match (stack.test, stack.part) {
        (true, _) => "test",
        (false, true) => "components",
        (false, false) => "",
    };
    Path::new(folder).join(name)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn print_lines(title: &str, lines: &[String]) {
    println!("  {title}:");
    for line in lines {
        println!("    {line}");
    }
}

/// Bytes with thousands marked, as people compare sizes.
fn size(bytes: usize) -> String {
    let digits = bytes.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} bytes")
}
