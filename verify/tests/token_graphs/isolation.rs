//! What composed artifacts export, and what their parts can reach: no private key has a way out.

use std::collections::BTreeSet;
use std::path::PathBuf;

use secure_log_verify::host::Artifact;
use wasmparser::{ComponentExternalKind, Parser, Payload};
use wasmtime::component::Type;
use wasmtime::component::types::ComponentItem;

use super::token::dist;

/// A component in an artifact: what it imports and exports, and those in it.
#[derive(Default, Debug)]
struct Part {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
    parts: Vec<Part>,
}

impl Part {
    fn read(wasm: &[u8]) -> Self {
        // Modules are None: they are read over.
        let mut open = vec![Some(Self::default())];
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.unwrap() {
                Payload::ModuleSection { .. } => open.push(None),
                Payload::ComponentSection { .. } => open.push(Some(Self::default())),
                Payload::ComponentImportSection(imports) => {
                    let part = open.last_mut().unwrap().as_mut().unwrap();
                    part.imports
                        .extend(imports.into_iter().map(|import| import.unwrap().name.name.to_owned()));
                }
                Payload::ComponentExportSection(exports) => {
                    let part = open.last_mut().unwrap().as_mut().unwrap();
                    let exports = exports.into_iter().map(Result::unwrap);
                    let instances = exports.filter(|e| e.kind == ComponentExternalKind::Instance);
                    part.exports.extend(instances.map(|export| export.name.name.to_owned()));
                }
                Payload::End(_) => {
                    let ended = open.pop().unwrap();
                    match open.last_mut() {
                        None => return ended.unwrap(),
                        Some(Some(outer)) => outer.parts.extend(ended),
                        Some(None) => {}
                    }
                }
                _ => {}
            }
        }
        panic!("it does not end");
    }

    fn imports(&self, name: &str) -> bool {
        self.imports.iter().any(|import| import.starts_with(name))
    }

    fn exports(&self, name: &str) -> bool {
        self.exports.iter().any(|export| export.starts_with(name))
    }

    /// The outermost parts that are such: what they were composed of is within them.
    fn such<'a>(&'a self, is: &dyn Fn(&Part) -> bool, found: &mut Vec<&'a Part>) {
        for part in &self.parts {
            if is(part) {
                found.push(part);
            } else {
                part.such(is, found);
            }
        }
    }

    /// The one part that is such.
    #[track_caller]
    fn the(&self, name: &str, is: &dyn Fn(&Part) -> bool) -> &Part {
        let mut found = Vec::new();
        if is(self) {
            return self;
        }
        self.such(is, &mut found);
        assert_eq!(found.len(), 1, "parts that are {name}");
        found[0]
    }
}

/// Artifacts with a keystore over a token.
fn artifacts() -> Vec<PathBuf> {
    let mut paths: Vec<_> = [dist(), dist().join("components")]
        .iter()
        .flat_map(|dir| std::fs::read_dir(dir).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "wasm"))
        .filter(|path| {
            let part = Part::read(&std::fs::read(path).unwrap());
            let mut keystores = Vec::new();
            part.such(&|part| part.imports("pkcs11:token/tokens@"), &mut keystores);
            !keystores.is_empty()
        })
        .collect();
    paths.sort();
    assert!(
        !paths.is_empty(),
        "dist/ has no artifact that signs with a token: run scripts/build-components.sh"
    );
    paths
}

fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn artifacts_export_nothing_of_a_token() {
    for path in artifacts() {
        let part = Part::read(&std::fs::read(&path).unwrap());
        let gate = name(&path).starts_with("edgesentry");
        let mut expected: BTreeSet<String> = match name(&path).starts_with("keystore-") {
            true => ["keys:keystore/envelope", "keys:keystore/signer"].map(str::to_owned).into(),
            false => ["encoder", "log", "checkpoint", "witness", "time"]
                .map(|name| format!("secure-log:log/{name}"))
                .into(),
        };
        if gate {
            expected.extend(["devices", "ingest", "update"].map(|name| format!("edgesentry:audit/{name}")));
        }
        let exports: BTreeSet<String> =
            part.exports.iter().map(|e| e.split('@').next().unwrap().to_owned()).collect();
        assert_eq!(exports, expected, "{}", path.display());
    }
}

/// Whether a value of this type could be a handle: of a key, a session, a slot.
fn has_handle(ty: &Type) -> bool {
    match ty {
        Type::Own(_) | Type::Borrow(_) => true,
        Type::List(list) => has_handle(&list.ty()),
        Type::Option(option) => has_handle(&option.ty()),
        Type::Tuple(tuple) => tuple.types().any(|ty| has_handle(&ty)),
        Type::Record(record) => record.fields().any(|field| has_handle(&field.ty)),
        Type::Variant(variant) => variant.cases().any(|case| case.ty.is_some_and(|ty| has_handle(&ty))),
        Type::Result(result) => [result.ok(), result.err()].into_iter().flatten().any(|ty| has_handle(&ty)),
        Type::Bool
        | Type::S8
        | Type::U8
        | Type::S16
        | Type::U16
        | Type::S32
        | Type::U32
        | Type::S64
        | Type::U64
        | Type::Float32
        | Type::Float64
        | Type::Char
        | Type::String
        | Type::Enum(_)
        | Type::Flags(_) => false,
        _ => true,
    }
}

#[test]
fn no_function_that_can_be_called_gives_or_takes_anything_of_a_token() {
    for path in artifacts().into_iter().filter(|path| !name(path).starts_with("keystore-")) {
        let artifact = Artifact::load(&path).unwrap();
        let engine = artifact.engine();
        let mut functions = BTreeSet::new();
        for (interface, item) in artifact.component().component_type().exports(engine) {
            let ComponentItem::ComponentInstance(instance) = item.ty else {
                panic!("{interface} is no interface")
            };
            for (function, item) in instance.exports(engine) {
                let ComponentItem::ComponentFunc(ty) = item.ty else {
                    assert!(!matches!(item.ty, ComponentItem::Resource(_)), "{interface} {function}");
                    continue;
                };
                let params = ty.params().map(|(_, ty)| ty);
                assert!(params.chain(ty.results()).all(|ty| !has_handle(&ty)), "{interface} {function}");
                functions.insert(function.to_owned());
            }
        }
        assert!(functions.contains("sign-segment"), "{functions:?}");
        // The functions of `pkcs11:token` and of the keystore's seam itself.
        for within in [
            "get-pin",
            "list-slots",
            "find-token",
            "find-wrapping-keys",
            "init-token",
            "generate-key",
            "import-key",
            "rename-key",
            "destroy-key",
            "get-key",
            "sign",
            "wrap",
            "unwrap",
            "destroy",
        ] {
            assert!(!functions.contains(within), "{} exports {within}", path.display());
        }
    }
}

const FILES: &str = "wasi:filesystem/";
const ENVIRONMENT: &str = "wasi:cli/environment";
const NETWORK: [&str; 2] = ["wasi:sockets/", "wasi:http/"];

#[test]
fn parts_reach_what_they_need_and_nothing_else() {
    for path in artifacts() {
        let whole = Part::read(&std::fs::read(&path).unwrap());
        let of = name(&path);
        let keystore = whole
            .the("keystores", &|p| p.exports("keys:keystore/signer@") && p.imports("pkcs11:token/tokens@"));
        for kept_out in [FILES, ENVIRONMENT, "pkcs11:token/pin-provider@", "pkcs11:token/admin@"] {
            assert!(!keystore.imports(kept_out), "{of}: the keystore imports {kept_out}");
        }
        if !of.starts_with("keystore-") {
            let core = whole.the("cores", &|p| {
                p.exports("secure-log:log/log@")
                    && p.imports("keys:keystore/signer@")
                    && p.imports("secure-log:log/store@")
            });
            for kept_out in [FILES, ENVIRONMENT, "pkcs11:token/"] {
                assert!(!core.imports(kept_out), "{of}: the core imports {kept_out}");
            }
            let store = whole.the("stores", &|p| p.exports("secure-log:log/store@"));
            for kept_out in [ENVIRONMENT, "pkcs11:token/"] {
                assert!(!store.imports(kept_out), "{of}: the store imports {kept_out}");
            }
        }
        let mut all = Vec::new();
        whole.such(&|_| true, &mut all);
        for part in all.into_iter().chain([&whole]) {
            assert!(!NETWORK.iter().any(|name| part.imports(name)), "{of}: a part reaches the network");
        }
        let mut asks = Vec::new();
        whole.such(&|p| p.imports("pkcs11:token/pin-provider@"), &mut asks);
        if whole.imports("pkcs11:token/tokens@") {
            // The token and its PIN are the host's.
            assert!(asks.is_empty(), "{of}: a part asks for PINs");
        } else {
            let token = whole.the("tokens", &|p| p.imports("pkcs11:token/pin-provider@"));
            assert!(token.exports("pkcs11:token/tokens@"), "{of}: who asks for PINs is no token");
            let pins = whole.the("PIN providers", &|p| {
                p.exports("pkcs11:token/pin-provider@") && !p.exports("pkcs11:token/tokens@")
            });
            assert!(!pins.imports("pkcs11:token/tokens@"), "{of}: the PIN provider sees tokens");
        }
    }
}
