//! Where in an artifact the token component is.

use std::ops::Range;

use wasmparser::{BinaryReaderError, Parser, Payload};

const EXPORT: &str = "pkcs11:token/admin@";
const IMPORT: &str = "pkcs11:token/pin-provider@";

/// A component that is being read.
#[derive(Default)]
struct Open {
    range: Range<usize>,
    code: bool,
    import: bool,
    export: bool,
}

/// The bytes of the first component that holds code, exports `pkcs11:token/admin` and imports the PIN provider: a
/// nested component is a whole one within a section.
pub(super) fn token_component(wasm: &[u8]) -> Result<Option<Range<usize>>, BinaryReaderError> {
    // Modules are None: they are read over.
    let mut open = vec![Some(Open { range: 0..wasm.len(), ..Open::default() })];
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ModuleSection { .. } => {
                if let Some(Some(component)) = open.last_mut() {
                    component.code = true;
                }
                open.push(None);
            }
            Payload::ComponentSection { unchecked_range: range, .. } => {
                open.push(Some(Open { range, ..Open::default() }));
            }
            Payload::ComponentImportSection(imports) => {
                if let Some(Some(component)) = open.last_mut() {
                    for import in imports {
                        component.import |= import?.name.name.starts_with(IMPORT);
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                if let Some(Some(component)) = open.last_mut() {
                    for export in exports {
                        component.export |= export?.name.name.starts_with(EXPORT);
                    }
                }
            }
            Payload::End(_) => {
                if let Some(Some(Open { range, code: true, import: true, export: true })) = open.pop() {
                    return Ok(Some(range));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_has_no_token() {
        assert!(token_component(b"not wasm").is_err());
        assert!(token_component(b"").is_err());
        // An empty module, an empty component.
        assert_eq!(token_component(b"\0asm\x01\0\0\0").unwrap(), None);
        assert_eq!(token_component(b"\0asm\x0d\0\x01\0").unwrap(), None);
    }
}
